"""An account's Braze settings, which an operator edits, and its state, which the workers keep."""

import uuid
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.dispatch import Signal
from django.utils import timezone

from integrations.braze.models import fingerprint
from integrations.braze.models.endpoints import normalised, validate_endpoint
from integrations.braze.models.fields import EncryptedTextField, Undecryptable
from integrations.braze.models.fingerprint import FingerprintField
from integrations.outbox.clock import database_now, latest
from masivo_braze.loyalty.models import Account


class BatchLimit(models.TextChoices):
    PER_ARRAY = "per_array", "75 attributes + 75 events + 75 purchases (older Braze contracts)"
    COMBINED = "combined", "75 objects in all (newer Braze contracts)"


class UnknownPolicy(models.TextChoices):
    RESEND = "resend", "send again (may arrive twice, never lost)"
    HOLD = "hold", "hold until an operator decides (never twice)"


#: Hourly limits have a field of their own, and a typing error here could stop an account for years.
LONGEST_WINDOW_SECONDS = 3600
#: Between two changes of an attribute.
LONGEST_GAP_SECONDS = 300
#: The end of a key is shown only if the key has at least this many characters.
SHORTEST_SHOWN = 12


def ending_of(key: str) -> str:
    return key[-4:] if len(key) >= SHORTEST_SHOWN else ""


#: Sent inside the transaction that changes an account's settings; `account_id: int`.
settings_changed = Signal()


def _date(account_ids: Collection[int], at: datetime | None = None) -> datetime:
    """Date the settings, once no relay can commit under the old ones any more: their requests then have older dates."""
    at = at or database_now()
    BrazeSettings._base_manager.filter(account_id__in=account_ids).update(updated_at=at)
    return at


class BrazeSettingsQuerySet(models.QuerySet["BrazeSettings"]):
    def update(self, **kwargs: Any) -> int:
        with transaction.atomic():
            account_ids = list(self.select_for_update().values_list("account_id", flat=True))
            if isinstance(kwargs.get("rest_endpoint"), str):
                kwargs["rest_endpoint"] = kwargs["rest_endpoint"] and normalised(kwargs["rest_endpoint"])
            if isinstance(kwargs.get("api_key"), str):
                kwargs |= {"key_ending": ending_of(kwargs["api_key"]), "key_changed_at": database_now()}
            updated = super().update(**kwargs)
            if kwargs.keys() & {"api_key", "rest_endpoint"}:
                self._note_fingerprints(account_ids)
            for account_id in account_ids:
                settings_changed.send(BrazeSettings, account_id=account_id)
            _date(account_ids, kwargs.get("updated_at"))
        return updated

    def _note_fingerprints(self, account_ids: Collection[int]) -> None:
        for row in self.model.objects.filter(account_id__in=account_ids):
            noted = fingerprint.of(row.rest_endpoint, row.api_key)
            if not isinstance(row.api_key, Undecryptable) and noted != row.fingerprint:
                super(BrazeSettingsQuerySet, self.model.objects.filter(pk=row.pk)).update(fingerprint=noted)

    def bulk_update(self, objs: Iterable["BrazeSettings"], fields: Iterable[str], batch_size: int | None = None) -> int:
        objs, fields = list(objs), list(fields)
        if "rest_endpoint" in fields:
            for each in objs:
                each.rest_endpoint = each.rest_endpoint and normalised(each.rest_endpoint)
        if "api_key" in fields:
            now = database_now()
            for each in objs:
                each.key_ending, each.key_changed_at = ending_of(each.api_key), now
            fields += ["key_ending", "key_changed_at"]
        return super().bulk_update(objs, fields, batch_size)

    bulk_update.alters_data = True  # type: ignore[attr-defined]  # as Django's own


class BrazeSettings(models.Model):
    """What an account sends to which Braze workspace. Everything is off until switched on."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="braze")
    is_enabled = models.BooleanField(
        "enabled", default=False, help_text="Nothing is recorded or sent while this is off."
    )
    api_key = EncryptedTextField(
        "API key",
        blank=True,
        default="",
        help_text="A REST API key with the permissions users.track and users.delete (and users.export.ids, to ask "
        "Braze what it holds). In Braze: Settings → APIs and Identifiers → API Keys. It is encrypted when saved and "
        "never shown again.",
    )
    key_ending = models.CharField(
        max_length=4, blank=True, editable=False, help_text="The end of the API key, to tell two apart."
    )
    key_changed_at = models.DateTimeField(null=True, blank=True, editable=False)
    fingerprint = FingerprintField(
        max_length=40, blank=True, default="", editable=False, db_index=True, help_text="Of key and endpoint together."
    )
    rest_endpoint = models.CharField(
        "REST endpoint",
        max_length=200,
        blank=True,
        validators=[validate_endpoint],
        help_text="For example https://rest.iad-01.braze.com. In Braze: Settings → APIs and Identifiers shows your "
        "instance; each instance has one REST endpoint.",
    )
    sync_audiences = models.BooleanField(
        "audiences",
        default=False,
        help_text="Joining an audience sets the attribute masivo_[audience], leaving clears it.",
    )
    sync_events = models.BooleanField(
        "events", default=False, help_text="Each event becomes a custom event, internal ones excepted."
    )
    sync_purchases = models.BooleanField(
        "purchases", default=False, help_text="Each line of a fulfilled order becomes a purchase; reversals negate it."
    )
    sync_customer_tags = models.BooleanField(
        "customer tags", default=False, help_text="Each tag becomes the attribute tag_[key]; removing it clears it."
    )
    create_customers = models.BooleanField(
        "create customers", default=False, help_text="New customers are created as users in Braze."
    )
    update_customers = models.BooleanField(
        "update customers", default=False, help_text="Changes of a customer's profile update the user in Braze."
    )
    delete_customers = models.BooleanField(
        "delete customers", default=False, help_text="Deleting a customer deletes the user in Braze, for good."
    )
    batch_limit = models.CharField(
        max_length=16,
        choices=BatchLimit.choices,
        default=BatchLimit.PER_ARRAY,
        help_text="How many objects one request may hold. Braze answers “Max Input Length Exceeded” if it is less.",
    )
    calls_per_window = models.PositiveIntegerField(
        "calls per window",
        default=3000,
        validators=[MinValueValidator(1)],
        help_text="Requests Braze allows in one window: 3,000 per 3 seconds unless your contract says otherwise.",
    )
    window_seconds = models.PositiveIntegerField(
        default=3, validators=[MinValueValidator(1), MaxValueValidator(LONGEST_WINDOW_SECONDS)]
    )
    calls_per_hour = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Newer contracts have an hourly limit as well: see API Usage Dashboard in Braze. Empty: none.",
    )
    unknown_events = models.CharField(
        "events of unknown outcome",
        max_length=8,
        choices=UnknownPolicy.choices,
        default=UnknownPolicy.RESEND,
        help_text="What to do when Braze's answer was lost and the events may or may not have arrived.",
    )
    unknown_purchases = models.CharField(
        "purchases of unknown outcome",
        max_length=8,
        choices=UnknownPolicy.choices,
        default=UnknownPolicy.HOLD,
        help_text="The same for purchases: one sent twice inflates revenue for good.",
    )
    attribute_gap_seconds = models.FloatField(
        "gap between changes of an attribute",
        default=2.0,
        validators=[MinValueValidator(0), MaxValueValidator(LONGEST_GAP_SECONDS)],
        help_text="Seconds between two requests that change the same attribute of a customer, because Braze may apply "
        "them in the other order. 0: none.",
    )
    updated_at = models.DateTimeField(
        default=timezone.now,
        editable=False,
        help_text="By the database's clock, as the requests that were composed under these settings are dated.",
    )

    objects = BrazeSettingsQuerySet.as_manager()

    class Meta:
        verbose_name = "Braze settings"
        verbose_name_plural = "Braze settings"

    def __str__(self) -> str:
        return f"Braze settings of {self.account}"

    def clean(self) -> None:
        if self.rest_endpoint:
            self.rest_endpoint = normalised(self.rest_endpoint)

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Save; `settings_changed` puts the change in force in the same transaction.

        Raises `ValidationError` for an endpoint outside the allow-list, however the settings are saved.
        """
        if self.rest_endpoint:
            self.rest_endpoint = normalised(self.rest_endpoint)
        self.updated_at = database_now()
        fields = None if update_fields is None else {*update_fields, "updated_at"}
        if fields is None or "api_key" in fields:
            self._note_key()
            fields = fields and {*fields, "key_ending", "key_changed_at"}
        if fields is not None and fields & {"api_key", "rest_endpoint"}:
            fields = {*fields, "fingerprint"}
        with transaction.atomic():
            list(BrazeSettings._base_manager.filter(pk=self.pk).select_for_update().values_list("pk"))
            super().save(*args, update_fields=fields, **kwargs)
            settings_changed.send(BrazeSettings, account_id=self.account_id)
            self.updated_at = _date([self.account_id])

    def _note_key(self) -> None:
        """Keep the key's end and age in line with it; a key that cannot be decrypted keeps what was shown."""
        if isinstance(self.api_key, Undecryptable):
            return
        stored = BrazeSettings.objects.filter(pk=self.pk).values_list("api_key", flat=True).first() or ""
        if self.api_key != stored or isinstance(stored, Undecryptable):
            self.key_ending, self.key_changed_at = ending_of(self.api_key), database_now()

    def sharing_key(self) -> "list[BrazeSettings]":
        """Other accounts' settings with the same key at the same endpoint: Braze sees one caller."""
        mine = fingerprint.of(self.rest_endpoint, self.api_key)
        others = BrazeSettings.objects.filter(fingerprint=mine).exclude(pk=self.pk)
        return list(others.select_related("account").defer("api_key")) if mine else []

    def missing(self) -> str:
        """What an enabled account lacks to be able to send, in words; or ""."""
        if isinstance(self.api_key, Undecryptable):
            return "The stored API key cannot be decrypted with the keys in FIELD_ENCRYPTION_KEYS: paste it again."
        if not self.api_key:
            return "No API key yet."
        return "" if self.rest_endpoint else "No REST endpoint yet."


class PauseKind(models.TextChoices):
    """Why an account is paused, and so what ends it."""

    REFUSED = "refused", "Braze refused: saving the settings resumes"
    RESTORED = "restored", "the database was restored: braze_restored resumes"


class BrazeState(models.Model):
    """How an account's traffic is going. Apart from the settings, so that neither overwrites the other."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="braze_state")
    paused_at = models.DateTimeField(null=True, blank=True)
    pause_kind = models.CharField(max_length=16, choices=PauseKind.choices, blank=True)
    pause_reason = models.TextField(blank=True)
    held_at = models.DateTimeField(
        null=True, blank=True, help_text="Paused by a person, apart from any other pause: only Resume ends it."
    )
    held_by = models.CharField(max_length=150, blank=True)
    held_reason = models.TextField(blank=True)
    backoff_from = models.DateTimeField(
        null=True, blank=True, help_text="When the wait was set. If that is yet to come, the clock was set back since."
    )
    backoff_until = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(
        default=0, help_text="Requests that failed since the last one Braze answered."
    )
    last_error = models.TextField(blank=True)
    combined_at = models.DateTimeField(
        null=True, blank=True, help_text="When the account switched itself to 75 objects a request, as Braze asked."
    )
    mirrored_endpoint = models.CharField(
        max_length=200, blank=True, help_text="The workspace that the mirrored profiles are of."
    )
    purged_at = models.DateTimeField(null=True, blank=True, help_text="When settled changes were last removed.")
    ledger_id = models.UUIDField(default=uuid.uuid4, editable=False)
    commits = models.PositiveBigIntegerField(default=0, help_text="Relay commits; Redis counts them, too.")

    class Meta:
        verbose_name = "Braze state"

    def __str__(self) -> str:
        return f"Braze state of {self.account}"

    def waits_until(self, now: datetime) -> datetime | None:
        """When the last backoff ends or ended. None if the clock was set back since it was set.

        It could last for as much longer as that, and for how long it has lasted is not known.
        """
        was_set_back = self.backoff_from is not None and self.backoff_from > latest(now)
        return None if was_set_back else self.backoff_until
