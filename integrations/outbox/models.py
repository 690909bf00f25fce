"""The outbox's tables: who wants which changes, the captured changes, and who relays them right now."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from masivo_braze.loyalty.models import Account


class Kind(models.TextChoices):
    """What happened in Masivo."""

    CUSTOMER_CREATED = "customer_created", "customer created"
    CUSTOMER_UPDATED = "customer_updated", "customer updated"
    CUSTOMER_DELETED = "customer_deleted", "customer deleted"
    EVENT = "event", "event"
    ORDER = "order", "order"
    ORDER_LINE = "order_line", "order line"
    AUDIENCE_JOINED = "audience_joined", "audience joined"
    AUDIENCE_LEFT = "audience_left", "audience left"
    AUDIENCE_RENAMED = "audience_renamed", "audience renamed"


class Topic(models.TextChoices):
    """What an integration can subscribe to. A change is captured where any of its topics is wanted."""

    CUSTOMER_CREATED = "customer_created"
    CUSTOMER_UPDATED = "customer_updated"
    CUSTOMER_DELETED = "customer_deleted"
    CUSTOMER_TAGS = "customer_tags"
    EVENTS = "events"
    ORDERS = "orders"
    AUDIENCES = "audiences"


class Status(models.TextChoices):
    PENDING = "pending", "pending"
    BUFFERED = "buffered", "buffered"
    DELIVERED = "delivered", "delivered"
    SKIPPED = "skipped", "skipped"
    REJECTED = "rejected", "rejected"
    UNKNOWN = "unknown", "unknown"
    DISCARDED = "discarded", "discarded"


def with_reason(word: str, reason: str) -> str:
    """A status and its reason in words. Some reasons, such as “discarded by …”, begin with the status themselves."""
    return reason if reason.startswith(word) else f"{word}: {reason}" if reason else word


#: Statuses in which an entry stays, unless a person decides otherwise.
SETTLED = (Status.DELIVERED, Status.SKIPPED, Status.REJECTED, Status.UNKNOWN, Status.DISCARDED)
#: Settled statuses about which a person may decide.
OPEN = (Status.REJECTED, Status.UNKNOWN)
#: Conditions that are true of unsettled entries, and of all entries. Look up a customer's entries with one of them:
#: each index by customer covers some states only, and this form lets the planner combine several indexes.
IS_ON_THE_WAY = Q(status=Status.PENDING) | Q(status=Status.BUFFERED)
IN_ANY_STATE = IS_ON_THE_WAY | Q(status__in=SETTLED)


class Subscription(models.Model):
    """One topic of one account that one integration wants *now*; maintained from the integration's settings."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    integration = models.CharField(max_length=32)
    topic = models.CharField(max_length=32, choices=Topic.choices)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "topic", "integration"], name="outbox_one_subscription")
        ]

    def __str__(self) -> str:
        return f"{self.integration} wants {self.topic} of account {self.account_id}"


class OutboxEntry(models.Model):
    """One captured change for one integration. Written in the transaction of the change itself.

    Every index costs each change up to three writes: `docs/scaling.md` says what each is for.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_index=False)
    integration = models.CharField(max_length=32)
    kind = models.CharField(max_length=32, choices=Kind.choices)
    customer_external_id = models.CharField("customer", max_length=1024)
    subject = models.CharField(
        max_length=64, blank=True, help_text="Primary key of the event, order or audience the change is about."
    )
    data = models.JSONField(
        default=dict, blank=True, help_text="What the record can no longer tell: removed tags, an audience's old name."
    )
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PENDING)
    error = models.TextField("reason", blank=True)
    adjustments = models.JSONField(
        default=list, blank=True, help_text="In words, what was left out or changed so that the vendor takes the rest."
    )
    worst = models.CharField(
        max_length=16, blank=True, help_text="The worst fate so far of a change that takes several requests."
    )
    batch = models.UUIDField(
        "request", null=True, blank=True, help_text="The integration's request that carries or carried the change."
    )
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="Waits until then, and its customer's later changes with it."
    )
    parked = models.BooleanField(default=False, help_text="Waits for another record's outcome, holding up nobody.")
    created_at = models.DateTimeField(default=timezone.now)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "captured change"
        indexes = [
            models.Index(
                fields=["account", "integration", "id"],
                # `id >= 0` is always true: only queries that say so, for all of an account, are planned with this
                # index.
                condition=Q(status="pending", id__gte=0),
                name="outbox_pending",
            ),
            models.Index(
                fields=["account", "integration", "customer_external_id", "id"],
                condition=Q(status="pending"),
                name="outbox_pending_of_customer",
            ),
            models.Index(
                fields=["account", "integration", "customer_external_id"],
                condition=Q(status="buffered"),
                name="outbox_busy",
            ),
            models.Index(
                fields=["account", "integration", "due_at"],
                condition=Q(status="pending", due_at__isnull=False),
                name="outbox_waiting",
            ),
            models.Index(
                fields=["account", "integration", "customer_external_id"],
                condition=Q(status="pending", kind="customer_deleted"),
                name="outbox_deletions",
            ),
            models.Index(
                fields=["account", "id"], condition=Q(status__in=["rejected", "unknown"]), name="outbox_failed"
            ),
            models.Index(
                fields=["account", "customer_external_id", "id"],
                condition=Q(status__in=SETTLED),
                name="outbox_settled_of_customer",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.get_kind_display()} of {self.customer_external_id} ({self.get_status_display()})"

    @property
    def outcome(self) -> str:
        """The status with its reason, in words."""
        return with_reason(self.get_status_display(), self.error)


class Lease(models.Model):
    """Who relays an account for an integration right now: one holder, for a limited time, by token.

    `emptied_at` is when a holder last finished everything there was, so that no backlog was left.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    integration = models.CharField(max_length=32)
    token = models.UUIDField(null=True, blank=True)
    expires_at = models.DateTimeField(default=timezone.now)
    emptied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "integration"], name="outbox_one_lease")]

    def __str__(self) -> str:
        return f"{self.integration} lease of account {self.account_id}"
