"""Listens like a receiver of changes does: to Django's per-row signals, to `rows_changed` and to `members_left`."""

from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models.signals import post_delete, post_save

from masivo_braze.loyalty.models import Audience, Customer, Event, Membership, Order, OrderLine
from masivo_braze.loyalty.signals import members_left, rows_changed

RECORDS = (Customer, Event, Order, OrderLine, Audience, Membership)


@dataclass(frozen=True)
class Change:
    """One change of one row. `via` is "row" (Django's signal) or "bulk" (of many rows)."""

    model: str
    action: str
    pk: Any
    via: str
    row: Any
    changed: frozenset[str] | None = None
    before: dict[str, Any] | None = None
    loaded: Any = None


@dataclass
class Recorder:
    all: list[Change] = field(default_factory=list)
    chunk_sizes: list[int] = field(default_factory=list)
    outside_transaction: list[str] = field(default_factory=list)

    def connect(self) -> None:
        for model in RECORDS:
            post_save.connect(self._saved, sender=model)
            post_delete.connect(self._deleted, sender=model)
        rows_changed.connect(self._rows_changed)
        members_left.connect(self._members_left)

    def disconnect(self) -> None:
        for model in RECORDS:
            post_save.disconnect(self._saved, sender=model)
            post_delete.disconnect(self._deleted, sender=model)
        rows_changed.disconnect(self._rows_changed)
        members_left.disconnect(self._members_left)

    def brief(self) -> list[tuple[str, str, Any]]:
        """(model, action, pk), sorted: a change told of twice is there twice."""
        return sorted((change.model, change.action, change.pk) for change in self.all)

    def clear(self) -> None:
        self.all.clear()
        self.chunk_sizes.clear()

    def _saved(self, sender: type, instance: Any, created: bool, **_: Any) -> None:
        loaded = {Customer: "loaded_tags", Audience: "loaded_name", Order: "loaded_status"}.get(sender)
        self._add(sender, "created" if created else "updated", instance, "row", getattr(instance, loaded or "pk"))

    def _deleted(self, sender: type, instance: Any, **_: Any) -> None:
        self._add(sender, "deleted", instance, "row", None)

    def _add(self, sender: type, action: str, row: Any, via: str, loaded: Any) -> None:
        if not connection.in_atomic_block:
            self.outside_transaction.append(sender.__name__)
        self.all.append(Change(sender.__name__, action, row.pk, via, row, loaded=loaded))

    def _rows_changed(
        self, sender: type, action: str, rows: list[Any], changed: Any, before: dict[Any, Any], **_: Any
    ) -> None:
        if not connection.in_atomic_block:
            self.outside_transaction.append(sender.__name__)
        self.chunk_sizes.append(len(rows))
        for row in rows:
            self.all.append(
                Change(sender.__name__, action, row.pk, "bulk", row, changed=changed, before=before.get(row.pk))
            )

    def _members_left(self, sender: type, audience: Audience, customers: list[int], **_: Any) -> None:
        if not connection.in_atomic_block:
            self.outside_transaction.append(sender.__name__)
        self.chunk_sizes.append(len(customers))
        by_pk = Customer.objects.in_bulk(customers)
        for pk in customers:
            row = Membership(audience=audience, customer=by_pk[pk])
            self.all.append(Change("Membership", "deleted", None, "bulk", row))
