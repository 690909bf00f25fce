"""Every purchase object that was ever composed, and what became of it."""

from django.db import models
from django.utils import timezone

from integrations.outbox.models import with_reason
from masivo_braze.loyalty.models import Account


class Fate(models.TextChoices):
    PENDING = "pending", "waiting to be sent"
    BUFFERED = "buffered", "on its way"
    DELIVERED = "delivered", "delivered"
    REJECTED = "rejected", "rejected"
    UNKNOWN = "unknown", "unknown"
    DISCARDED = "discarded", "discarded"


#: What Braze refuses when it is sent again stays in doubt, with this before Braze's words.
IN_DOUBT_BEFORE = "may have arrived before; refused when sent again: "


class BrazePurchase(models.Model):
    """One object of Braze's `purchases` array: a line of an order, or a part of one. Kept for ever.

    Revenue is `price` × `quantity` [Braze: purchase object]. A reversal has the negative price of its sale and is
    made from this row, so it negates exactly what was sent, whatever became of the order's lines since.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    customer_external_id = models.CharField("customer", max_length=1024)
    order_id = models.CharField("order", max_length=255)
    line = models.PositiveIntegerField()
    part = models.PositiveIntegerField()
    is_reversal = models.BooleanField("reversal", default=False)
    purchase_id = models.CharField(max_length=300)
    product_id = models.CharField("product", max_length=255)
    price = models.DecimalField(max_digits=24, decimal_places=3)
    quantity = models.IntegerField()
    currency = models.CharField(max_length=3)
    time = models.DateTimeField()
    properties = models.JSONField(default=dict)
    fate = models.CharField(max_length=16, choices=Fate.choices, default=Fate.PENDING)
    error = models.TextField("reason", blank=True)
    delivery_id = models.UUIDField("request", null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "purchase sent"
        verbose_name_plural = "purchases sent"
        constraints = [models.UniqueConstraint(fields=["account", "purchase_id"], name="braze_one_purchase")]
        indexes = [
            models.Index(fields=["account", "order_id"], name="braze_purchase_order"),
            models.Index(fields=["account", "customer_external_id"], name="braze_purchase_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.purchase_id} ({self.fate})"

    @property
    def outcome(self) -> str:
        """The fate with its reason, in words."""
        return with_reason(self.get_fate_display(), self.error)
