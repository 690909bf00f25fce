from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.db.models.signals import post_delete
from django.utils import timezone

from masivo_braze.loyalty.json_values import validate_text
from masivo_braze.loyalty.models.account import Account, validate_currency
from masivo_braze.loyalty.models.customer import Customer
from masivo_braze.loyalty.models.event import validate_customer, validate_data_field
from masivo_braze.loyalty.models.record import Record
from masivo_braze.loyalty.querysets import RecordQuerySet, chunked
from masivo_braze.loyalty.signals import connect_rows

#: SQLite keeps some 15 digits of a decimal; a line with more could not even be read back.
MOST = 10**12


class OrderQuerySet(RecordQuerySet["Order"]):
    def bulk_update(self, objs: Iterable["Order"], fields: Iterable[str], batch_size: int | None = None) -> int:
        """Like any record's; the times filled in with a new status are read back into `objs`."""
        objs, fields = list(objs), list(fields)
        with transaction.atomic(using=self.db):
            count = super().bulk_update(objs, fields, batch_size)
            if "status" in fields:
                self._read_times(objs)
        return count

    bulk_update.alters_data = True  # type: ignore[attr-defined]

    def _read_times(self, orders: list["Order"]) -> None:
        for chunk in chunked(orders):
            stored = self.model._base_manager.using(self.db).filter(pk__in=[order.pk for order in chunk])
            times = {pk: values for pk, *values in stored.values_list("pk", "fulfilled_at", "closed_at")}
            for order in chunk:
                order.fulfilled_at, order.closed_at = times.get(order.pk, (order.fulfilled_at, order.closed_at))


class Order(Record):
    """A purchase as Masivo knows it; what is synced of it are the lines of a fulfilled one."""

    class Status(models.TextChoices):
        PENDING = "PENDING"
        FULFILLED = "FULFILLED"
        REVERSED = "REVERSED"
        CANCELLED = "CANCELLED"
        EXPIRED = "EXPIRED"

    CLOSED = (Status.REVERSED, Status.CANCELLED, Status.EXPIRED)

    tracked = ("status",)
    immutable = ("account", "customer", "order_id")
    loaded_with = ("customer",)

    account = models.ForeignKey(Account, models.CASCADE, related_name="orders")
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    order_id = models.CharField(max_length=255)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.PENDING)
    currency = models.CharField(
        max_length=3, blank=True, validators=[validate_currency], help_text="Empty: the account's currency."
    )
    last_position = models.PositiveIntegerField(
        default=0, editable=False, help_text="The highest position that a line was deleted from: it is not used again."
    )
    placed_at = models.DateTimeField(default=timezone.now)
    fulfilled_at = models.DateTimeField(null=True, blank=True, help_text="Filled in when the order is fulfilled.")
    closed_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Filled in when the order is reversed or cancelled, or expires; emptied where it is open again.",
    )
    channel = models.CharField(max_length=100, blank=True)
    store = models.CharField(max_length=200, blank=True)
    payment_method = models.CharField(max_length=100, blank=True)
    data = models.JSONField(default=dict, blank=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "order_id"],
                name="loyalty_order_order_id",
                violation_error_message="This account already has an order with this order id.",
            ),
            models.CheckConstraint(condition=~models.Q(order_id=""), name="loyalty_order_order_id_given"),
            models.CheckConstraint(
                condition=models.Q(status__in=["PENDING", "FULFILLED", "REVERSED", "CANCELLED", "EXPIRED"]),
                name="loyalty_order_status",
            ),
        ]

    def __str__(self) -> str:
        return self.order_id

    @property
    def loaded_status(self) -> str | None:
        """The stored status as last read or written here; None for an order that was not stored yet."""
        return self._loaded.get("status")

    @property
    def effective_currency(self) -> str:
        return self.currency or self.account.currency

    def missing_time(self) -> str | None:
        """The name of the time that goes with the status and is not filled in yet."""
        if self.status == self.Status.FULFILLED and self.fulfilled_at is None:
            return "fulfilled_at"
        return "closed_at" if self.status in self.CLOSED and self.closed_at is None else None

    def validate_values(self) -> None:
        validate_text(self, "order_id")
        validate_data_field(self)
        for name in ("placed_at", "fulfilled_at", "closed_at"):
            self.validate_time(name)

    def validate_relations(self) -> None:
        validate_customer(self)

    @classmethod
    def fill_rows(cls, rows: Sequence[Self], using: str, written: Collection[str] | None = None) -> frozenset[str]:
        if written is not None and "status" not in written:
            return frozenset()
        filled = set()
        for row in rows:
            if name := row.missing_time():
                setattr(row, name, timezone.now())
                filled.add(name)
            if row.closed_at is not None and row.status not in cls.CLOSED:
                row.closed_at = None  # or the next time it is closed would be the first
                filled.add("closed_at")
        return frozenset(filled)

    @classmethod
    def complete_update(cls, stored: models.QuerySet[Self], changed: frozenset[str]) -> frozenset[str]:
        if "status" not in changed:
            return frozenset()
        fulfilled = stored.filter(status=cls.Status.FULFILLED, fulfilled_at=None)
        closed = stored.filter(status__in=cls.CLOSED, closed_at=None)
        reopened = stored.exclude(status__in=cls.CLOSED).exclude(closed_at=None)
        now = timezone.now()  # the base class' update, as the update that this completes sends the signal
        counts = {
            "fulfilled_at": models.QuerySet.update(fulfilled, fulfilled_at=now),
            "closed_at": models.QuerySet.update(closed, closed_at=now)
            + models.QuerySet.update(reopened, closed_at=None),
        }
        return frozenset(name for name, count in counts.items() if count)


class OrderLine(Record):
    """A quantity of one product in an order. The line's values are totals, not prices per unit."""

    immutable = ("order", "position")
    loaded_with = ("order__customer",)

    order = models.ForeignKey(Order, models.CASCADE, related_name="lines")
    position = models.PositiveIntegerField(blank=True, help_text="Empty: after the last line of the order.")
    sku = models.CharField("SKU", max_length=255)
    name = models.CharField(max_length=255, blank=True)
    quantity = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    value = models.DecimalField(max_digits=18, decimal_places=3, help_text="List-price total of the line.")
    discounted_value = models.DecimalField(
        max_digits=18, decimal_places=3, null=True, blank=True, help_text="Total paid for the line. Empty: the value."
    )
    data = models.JSONField(default=dict, blank=True)

    objects = RecordQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        ordering = ["order_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["order", "position"], name="loyalty_orderline_position"),
            models.CheckConstraint(condition=models.Q(quantity__gte=1), name="loyalty_orderline_quantity"),
        ]

    def __str__(self) -> str:
        return f"{self.position}: {self.sku}"

    @property
    def paid(self) -> Decimal:
        """The total paid for the line, in the order's currency."""
        return self.value if self.discounted_value is None else self.discounted_value

    def validate_values(self) -> None:
        validate_data_field(self)
        for name in ("value", "discounted_value"):
            amount = self.given(name)
            if amount is not None and not -MOST < amount < MOST:
                raise ValidationError({name: f"Amounts are below {MOST:,}, so that every database holds them exactly."})

    @classmethod
    def fill_rows(cls, rows: Sequence[Self], using: str, written: Collection[str] | None = None) -> frozenset[str]:
        unplaced = [row for row in rows if row.position is None]
        if not unplaced:
            return frozenset()
        last = cls._last_positions({row.order_id for row in unplaced}, using)
        for row in rows:
            if row.position is not None:
                last[row.order_id] = max(last[row.order_id], row.position)
        for row in unplaced:
            last[row.order_id] += 1
            row.position = last[row.order_id]
        return frozenset({"position"})

    @classmethod
    def _last_positions(cls, order_ids: set[Any], using: str) -> Counter[Any]:
        """The highest position of each order, 0 where it has no lines; the orders stay locked, so that it is still
        the highest when the lines are inserted.
        """
        orders = Order._base_manager.using(using).filter(pk__in=order_ids).order_by("pk")
        deleted = dict(orders.select_for_update(no_key=True).values_list("pk", "last_position"))
        lines = cls._base_manager.using(using).filter(order_id__in=order_ids).order_by()
        highest = dict(lines.values_list("order_id").annotate(models.Max("position")))
        return Counter({pk: max(last, highest.get(pk, 0)) for pk, last in deleted.items()})


def connect() -> None:
    """Called once, when all models are loaded."""
    connect_rows(post_delete, keep_position, OrderLine, "loyalty.keep_position")


def keep_position(instance: OrderLine, using: str, **_: Any) -> None:
    """Remember a deleted line's position, so that no other line gets it: receivers know the line by it."""
    order: models.QuerySet[Order] = models.QuerySet(Order, using=using).filter(
        pk=instance.order_id, last_position__lt=instance.position
    )
    order.update(last_position=instance.position)
