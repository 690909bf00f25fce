import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.db import models, router, transaction
from django.utils import timezone

from masivo_braze.loyalty.models.account import Account
from masivo_braze.loyalty.models.customer import Customer
from masivo_braze.loyalty.models.record import Record
from masivo_braze.loyalty.querysets import RecordQuerySet, chunked
from masivo_braze.loyalty.signals import members_left

MAX_NAME_LENGTH = 248


@dataclass(frozen=True, slots=True)
class Recalculation:
    """What `Audience.recalculate` did. `unknown`: the external ids that no customer of the account has, sorted."""

    joined: int
    left: int
    unknown: tuple[str, ...]


class AudienceQuerySet(RecordQuerySet["Audience"]):
    def delete(self) -> tuple[int, dict[str, int]]:
        """As Django's, after the memberships have been removed set-wise."""
        self._for_write = True
        with transaction.atomic(using=self.db):
            members, _ = Membership.objects.using(self.db).filter(audience__in=list(self._lock(no_key=False))).delete()
            count, by_model = super().delete()
        return count + members, _with_memberships(by_model, members)

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class Audience(Record):
    """A named set of customers. It may have a million members: nothing here loads them all."""

    tracked = ("name",)
    immutable = ("account",)

    account = models.ForeignKey(Account, models.CASCADE, related_name="audiences")
    audience_id = models.CharField(max_length=255, blank=True, help_text="Empty: generated.")
    name = models.CharField(max_length=MAX_NAME_LENGTH)
    customers = models.ManyToManyField(Customer, through="Membership", related_name="audiences", blank=True)

    objects = AudienceQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "audience_id"],
                name="loyalty_audience_audience_id",
                violation_error_message="This account already has an audience with this audience id.",
            ),
            models.UniqueConstraint(
                fields=["account", "name"],
                name="loyalty_audience_name",
                violation_error_message="This account already has an audience of this name.",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="loyalty_audience_name_given"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def loaded_name(self) -> str | None:
        """The stored name as last read or written here; None for an audience that was not stored yet."""
        return self._loaded.get("name")

    def save(self, *, using: str | None = None, **kwargs: Any) -> None:
        """Save; the name from before is read from the row, which another process may have renamed meanwhile."""
        using = using or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            if not self._state.adding:
                self._lock(using)
                stored = type(self)._base_manager.using(using).filter(pk=self.pk).values("name").first()
                self._loaded = {**self._loaded, **(stored or {})}
            super().save(using=using, **kwargs)

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        using = using or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            self._lock(using)
            members, _ = Membership.objects.using(using).filter(audience=self.pk).delete()
            count, by_model = super().delete(using, keep_parents)
        return count + members, _with_memberships(by_model, members)

    def recalculate(self, external_ids: Iterable[str]) -> Recalculation:
        """Make the membership exactly these customers of the account, capturing only joins and leaves.

        Unknown ids are reported; an anonymous customer among them raises ValidationError, and nothing changes.
        """
        if isinstance(external_ids, str):
            raise TypeError("recalculate() takes the external ids of customers, not one string.")
        using = router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            self._lock(using)
            wanted, unknown = self._resolve(set(external_ids), using)
            memberships = Membership.objects.using(using).filter(audience=self)
            present = set(memberships.values_list("customer_id", flat=True))
            for chunk in chunked(sorted(present - wanted)):
                memberships.filter(customer__in=chunk).delete()
            for chunk in chunked(sorted(wanted - present)):
                Membership.objects.using(using).bulk_create(Membership(audience=self, customer_id=pk) for pk in chunk)
        return Recalculation(len(wanted - present), len(present - wanted), tuple(unknown))

    def validate_values(self) -> None:
        name = self.__dict__.get("name", "?")
        if isinstance(name, str) and not name.strip():
            raise ValidationError({"name": "An audience needs a name."})
        if isinstance(name, str) and len(name) > MAX_NAME_LENGTH:
            raise ValidationError({"name": f"Names are limited to {MAX_NAME_LENGTH} characters."})

    @classmethod
    def fill_rows(cls, rows: Sequence[Self], using: str, written: Collection[str] | None = None) -> frozenset[str]:
        unnamed = [row for row in rows if row.__dict__.get("audience_id") == ""]
        for row in unnamed:
            row.audience_id = uuid.uuid4().hex
        return frozenset({"audience_id"} if unnamed else ())

    def _lock(self, using: str) -> None:
        """Lock the row, so that saves, recalculations and deletions take turns; adding a member waits at its commit."""
        list(type(self)._base_manager.using(using).filter(pk=self.pk).select_for_update().values_list("pk"))

    def _resolve(self, external_ids: set[str], using: str) -> tuple[set[int], list[str]]:
        """The pks of the account's customers with these ids, and the ids that nobody has."""
        pks: set[int] = set()
        unknown = set(external_ids)
        customers = Customer.objects.using(using).filter(account_id=self.account_id)
        for chunk in chunked(external_ids):
            for pk, external_id in customers.filter(external_id__in=chunk).values_list("pk", "external_id"):
                pks.add(pk)
                unknown.discard(external_id)
        return pks, sorted(unknown)


class MembershipQuerySet(RecordQuerySet["Membership"]):
    """`Audience.customers` and `Customer.audiences` write through this: add, remove, set and clear end up here."""

    def bulk_create(
        self,
        objs: Iterable["Membership"],
        batch_size: int | None = None,
        ignore_conflicts: bool = True,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list["Membership"]:
        """Like any record's, but conflicts are always ignored: joining twice is joining once.

        Two processes may add the same customer at the same time, and `Audience.customers.add` ignores no conflicts.
        """
        rows = list(objs)
        for row in rows:
            row.settle_foreign_keys()
            if row.audience_id is None or row.customer_id is None:
                raise ValueError("A membership needs a saved audience and a saved customer.")
        rows.sort(key=lambda row: (row.audience_id, row.customer_id))  # always in the same order, to avoid deadlocks
        return super().bulk_create(rows, batch_size, True, update_conflicts, update_fields, unique_fields)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Sends signals in chunks, with keys only.

        Nothing depends on a membership, so nothing cascades or is loaded.
        """
        self._for_write = True
        with transaction.atomic(using=self.db):
            count = sum(self._delete_part(part) for part in self._parts(self._lock(no_key=False)))
        self._result_cache = None
        return count, {self.model._meta.label: count} if count else {}

    bulk_create.alters_data = True  # type: ignore[attr-defined]
    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def _delete_part(self, part: models.QuerySet["Membership"]) -> int:
        rows = list(part.values_list("pk", "audience_id", "customer_id").distinct())
        self._base().filter(pk__in=[pk for pk, _, _ in rows])._raw_delete(self.db)
        by_audience: dict[int, list[int]] = defaultdict(list)
        for _, audience_id, customer_id in rows:
            by_audience[audience_id].append(customer_id)
        audiences = Audience._base_manager.using(self.db).filter(pk__in=by_audience).select_related("account")
        for audience in audiences.order_by("pk"):
            members_left.send(sender=self.model, audience=audience, customers=by_audience[audience.pk])
        return len(rows)


class Membership(Record):
    """A customer's membership in an audience."""

    immutable = ("audience", "customer")
    loaded_with = ("audience", "customer")

    audience = models.ForeignKey(Audience, models.CASCADE, related_name="memberships")
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="memberships")
    joined_at = models.DateTimeField(default=timezone.now)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["audience", "customer"],
                name="loyalty_membership_once",
                violation_error_message="This customer is a member already.",
            )
        ]

    def __str__(self) -> str:
        return f"membership {self.pk}"

    def validate_values(self) -> None:
        self.validate_time("joined_at")

    def validate_relations(self) -> None:
        audience, customer = self.related("audience"), self.related("customer")
        if audience is None or customer is None:
            return
        if customer.account_id != audience.account_id:
            raise ValidationError({"customer": "This customer belongs to another account."})
        if customer.is_anonymous:
            raise ValidationError({"customer": _anonymous_message(customer.external_id)})


def _anonymous_message(external_id: str) -> str:
    return f"Anonymous customers are never members of an audience, and {external_id} is one."


def _with_memberships(by_model: dict[str, int], members: int) -> dict[str, int]:
    label = Membership._meta.label
    return {**by_model, label: by_model.get(label, 0) + members} if members else by_model
