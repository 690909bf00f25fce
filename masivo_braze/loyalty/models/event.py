import uuid

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from masivo_braze.loyalty.json_values import validate_data
from masivo_braze.loyalty.models.account import Account
from masivo_braze.loyalty.models.customer import Customer
from masivo_braze.loyalty.models.record import Record
from masivo_braze.loyalty.querysets import RecordQuerySet


class Event(Record):
    """Something a customer did, or that happened to them. The type is an open, case-sensitive name."""

    immutable = ("account", "customer")
    loaded_with = ("customer",)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, models.CASCADE, related_name="events")
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="events")
    type = models.CharField(max_length=255)
    occurred_at = models.DateTimeField(default=timezone.now, db_index=True)
    data = models.JSONField(default=dict, blank=True)

    objects = RecordQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        constraints = [models.CheckConstraint(condition=~models.Q(type=""), name="loyalty_event_type_given")]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    def validate_values(self) -> None:
        validate_data_field(self)
        self.validate_time("occurred_at")

    def validate_relations(self) -> None:
        validate_customer(self)


def validate_data_field(record: Record) -> None:
    """ValidationError at `data` of an event, an order or a line."""
    data = record.__dict__.get("data", {})
    if hasattr(data, "resolve_expression"):
        return
    try:
        validate_data(data)
    except ValidationError as error:
        raise ValidationError({"data": error}) from error


def validate_customer(record: Record) -> None:
    """ValidationError at `customer` unless the record and its customer are of one account."""
    customer = record.related("customer")
    if customer is not None and customer.account_id != record.__dict__.get("account_id", customer.account_id):
        raise ValidationError({"customer": "This customer belongs to another account."})
