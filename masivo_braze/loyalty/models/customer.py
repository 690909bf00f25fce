from collections.abc import Sequence
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from masivo_braze.loyalty.json_values import validate_tags, validate_text
from masivo_braze.loyalty.models.account import Account
from masivo_braze.loyalty.models.record import Record
from masivo_braze.loyalty.querysets import RecordQuerySet

#: PostgreSQL's indexes take up to 2,704 bytes, and those of captured changes have more columns than the customer's own.
MOST_ID_BYTES = 2_600
#: SQLite keeps some 15 digits: more would be rounded up to what the field cannot hold, nor be read back.
MOST_POINTS = 10**14 - 1
IS_MEMBER = "Anonymous customers are never members of an audience, and this one is."


class Customer(Record):
    """A person, or an anonymous visitor, under the merchant's own id."""

    class Gender(models.TextChoices):
        MALE = "MALE"
        FEMALE = "FEMALE"
        OTHER = "OTHER"

    tracked = ("tags",)
    immutable = ("account", "external_id")

    account = models.ForeignKey(Account, models.CASCADE, related_name="customers")
    external_id = models.CharField(max_length=1024, help_text="The merchant's id. It cannot change once saved.")
    email = models.EmailField(blank=True)
    phone = models.CharField(max_length=50, blank=True)
    first_name = models.CharField(max_length=150, blank=True)
    last_name = models.CharField(max_length=150, blank=True)
    gender = models.CharField(max_length=6, choices=Gender.choices, blank=True)
    birth_date = models.DateField(null=True, blank=True)
    country = models.CharField(max_length=100, blank=True)
    city = models.CharField(max_length=100, blank=True)
    language = models.CharField(max_length=35, blank=True)
    time_zone = models.CharField(max_length=64, blank=True)
    is_anonymous = models.BooleanField("anonymous", default=False)
    tier = models.CharField(max_length=100, blank=True)
    points = models.DecimalField(max_digits=18, decimal_places=4, default=0)
    tags = models.JSONField(
        default=dict, blank=True, help_text='A flat JSON object, such as {"vip": true, "visits": 3}.'
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = RecordQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "external_id"],
                name="loyalty_customer_external_id",
                violation_error_message="This account already has a customer with this external id.",
            ),
            models.UniqueConstraint(
                fields=["account", "email"],
                condition=~models.Q(email=""),
                name="loyalty_customer_email",
                violation_error_message="Another customer of this account has this email address.",
            ),
            models.CheckConstraint(condition=~models.Q(external_id=""), name="loyalty_customer_external_id_given"),
            models.CheckConstraint(
                condition=models.Q(gender__in=["", "MALE", "FEMALE", "OTHER"]), name="loyalty_customer_gender"
            ),
        ]

    def __str__(self) -> str:
        return self.external_id

    @property
    def loaded_tags(self) -> dict[str, Any] | None:
        """The stored tags as last read or written here; None for a customer that was not stored yet."""
        return self._loaded.get("tags")

    def validate_values(self) -> None:
        validate_text(self, "external_id")
        self._validate_id_size()
        self.validate_time("created_at")
        if not -MOST_POINTS <= (self.given("points") or 0) <= MOST_POINTS:
            raise ValidationError({"points": f"Points are {MOST_POINTS:,} at most, so that every database holds them."})
        tags = self.__dict__.get("tags", {})  # a deferred field is not written either
        try:
            validate_tags(tags)
        except ValidationError as error:
            raise ValidationError({"tags": error}) from error

    def _validate_id_size(self) -> None:
        size = len(str(self.external_id).encode()) if self._state.adding else 0  # it cannot change once saved
        if size > MOST_ID_BYTES:
            words = (
                f"This takes {size:,} bytes, and an id up to {MOST_ID_BYTES:,}, so that every database can index it."
            )
            raise ValidationError({"external_id": words})

    def validate_relations(self) -> None:
        if self.pk and self.__dict__.get("is_anonymous") and self.memberships.exists():
            raise ValidationError({"is_anonymous": IS_MEMBER})

    @classmethod
    def validate_rows(cls, rows: Sequence[Self], using: str) -> None:
        for row in rows:
            row.validate_values()
        anonymous = [row.pk for row in rows if row.is_anonymous]
        members = cls._base_manager.using(using).filter(pk__in=anonymous, memberships__isnull=False)
        if anonymous and members.exists():
            raise ValidationError({"is_anonymous": IS_MEMBER})
