"""The ledger: one row per request to Braze, written before the request can be sent."""

import uuid
import zlib
from typing import Any

import orjson
from django.db import models
from django.db.models import Q
from django.utils import timezone

from masivo_braze.loyalty.models import Account

#: The arrays of `/users/track`, in the order in which Braze applies them.
TRACKED = ("attributes", "events", "purchases")
#: Those of a manifest. A `Delivery` has a column for the number of objects in each.
ARRAYS = (*TRACKED, "deletions")
#: How much of an answer is kept, in characters: as much as anybody reads.
MAX_WORDS = 2_000


class Endpoint(models.TextChoices):
    TRACK = "track", "/users/track"
    DELETE = "delete", "/users/delete"


class Outcome(models.TextChoices):
    """How a request ended; empty while it has not."""

    ACCEPTED = "accepted", "accepted"
    PARTIAL = "partial", "accepted in part"
    REFUSED = "refused", "refused"
    RETRY = "retry", "failed, sent again"
    UNKNOWN = "unknown", "outcome unknown"
    DISSOLVED = "dissolved", "never sent"


class Delivery(models.Model):
    """One request: composed once, started by one sender, settled once.

    `manifest` has a list per array of the body, in the same order, that says whose each object is:
    `{"attributes": [{"customer": str, "entries": [int], "creates": bool}], "events": [...], "purchases":
    [{..., "purchase": int}], "deletions": [...], "unfinished": [int]}`. A line also has `"known": true` if Braze was
    known to have the user. Entries under `unfinished` have more to send than fitted.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    endpoint = models.CharField(max_length=8, choices=Endpoint.choices)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    deadline = models.DateTimeField(null=True, blank=True, help_text="Without an answer until then, it is unknown.")
    finished_at = models.DateTimeField(null=True, blank=True)
    status_code = models.PositiveSmallIntegerField("status", null=True, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, blank=True)
    answer = models.TextField(
        blank=True,
        help_text="Braze's words, or what kept Braze from answering; without the key, cut to 2,000 characters.",
    )
    attributes = models.PositiveIntegerField(default=0)
    events = models.PositiveIntegerField(default=0)
    purchases = models.PositiveIntegerField(default=0)
    deletions = models.PositiveIntegerField(default=0)
    bytes = models.PositiveIntegerField(default=0)
    manifest = models.JSONField(default=dict)
    body = models.BinaryField(default=b"", help_text="The JSON as sent, compressed by zlib.")

    class Meta:
        verbose_name = "request"
        permissions = [("view_payloads", "Can view payloads: what requests carried, personal data included")]
        indexes = [
            models.Index(
                fields=["account", "created_at"],
                condition=Q(started_at__isnull=True, finished_at__isnull=True),
                name="braze_unstarted",
            ),
            models.Index(
                fields=["deadline"],
                condition=Q(started_at__isnull=False, finished_at__isnull=True),
                name="braze_in_flight",
            ),
            models.Index(fields=["account", "-created_at"], name="braze_ledger"),
            # For the console's counts: a request may wait for hours, so when it was composed does not tell when it
            # ended.
            models.Index(
                fields=["account", "-finished_at"], condition=Q(finished_at__isnull=False), name="braze_finished"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.pk}"

    @property
    def size(self) -> int:
        """Objects in all."""
        return self.attributes + self.events + self.purchases + self.deletions

    @property
    def payload(self) -> dict[str, Any]:
        """The body as it was, or will be, sent."""
        payload: dict[str, Any] = orjson.loads(zlib.decompress(self.body))
        return payload
