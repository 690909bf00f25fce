"""Whether requests of an account may be sent right now, and if not, why, in words."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.db.models import Q, TextField
from django.db.models.functions import Cast

from integrations.braze.models import BrazeSettings, BrazeState, endpoints
from integrations.braze.models.fields import can_decrypt
from integrations.outbox.clock import database_now, latest
from integrations.outbox.prepared import Prepared


@dataclass(frozen=True, slots=True)
class Readiness:
    """`state` is one of healthy, disabled, incomplete, paused, backing off; `detail` explains it in words.

    An account whose last request failed is on probation: it sends one request at a time, on threads set apart for that.
    """

    settings: BrazeSettings | None
    state: str
    detail: str = ""
    on_probation: bool = False
    account_state: BrazeState | None = None

    @property
    def is_ready(self) -> bool:
        return self.state == "healthy"


_SETTINGS = Prepared(lambda account_id: BrazeSettings.objects.filter(account_id=account_id))
_STATE = Prepared(lambda account_id: BrazeState.objects.filter(account_id=account_id))


def of(account_id: int, now: datetime | None = None) -> Readiness:
    settings = settings_of(account_id)
    state = state_of(account_id) if settings else None
    return replace(judge(settings, state, now), account_state=state)


def not_ready(account_ids: Collection[int]) -> set[int]:
    """Which of these accounts are not healthy, for very many at once: no key is decrypted more than once."""
    now = database_now()
    is_backing_off = Q(backoff_until__gt=now) & ~Q(backoff_from__gt=latest(now))
    is_held = Q(paused_at__isnull=False) | Q(held_at__isnull=False) | is_backing_off
    held = BrazeState.objects.filter(is_held, account__id__among=account_ids).values_list("account_id", flat=True)
    others = BrazeSettings.objects.filter(account__id__among=set(account_ids).difference(held), is_enabled=True)
    rows = list(others.values_list("account_id", "rest_endpoint", Cast("api_key", TextField())))
    allowed = {endpoint for endpoint in {endpoint for _, endpoint, _ in rows} if not forbidden(endpoint)}
    ready = (pk for pk, endpoint, ciphertext in rows if endpoint in allowed and can_decrypt(ciphertext))
    return set(account_ids).difference(ready)


def settings_of(account_id: int, key_share: bool = False) -> BrazeSettings | None:
    """With `key_share`, waits for a save in progress, and makes the next one wait until the transaction ends."""
    return _SETTINGS.first(account_id=account_id, key_share=key_share)


def state_of(account_id: int) -> BrazeState | None:
    return _STATE.first(account_id=account_id)


def judge(settings: BrazeSettings | None, state: BrazeState | None, now: datetime | None = None) -> Readiness:
    """Like `of`, from rows already read. The database's clock is asked only if it matters and `now` is not given."""
    if settings is None or not settings.is_enabled:
        return Readiness(settings, "disabled")
    if missing := settings.missing() or forbidden(settings.rest_endpoint):
        return Readiness(settings, "incomplete", missing)
    if state and state.paused_at:
        return Readiness(settings, "paused", state.pause_reason)
    if state and state.held_at:
        return Readiness(settings, "paused", held_in_words(state))
    if state and state.backoff_until and _is_backing_off(state, now or database_now()):
        return Readiness(settings, "backing off", state.last_error)
    return Readiness(settings, "healthy", on_probation=bool(state and state.failures))


def _is_backing_off(state: BrazeState, now: datetime) -> bool:
    until = state.waits_until(now)
    return until is not None and until > now


def held_in_words(state: BrazeState) -> str:
    return f"paused by {state.held_by}" + (f": {state.held_reason}" if state.held_reason else "")


def forbidden(endpoint: str) -> str:
    """Why the endpoint may not be called, or "". Checked before each use: the allow-list may have changed since."""
    try:
        endpoints.normalised(endpoint)
    except ValidationError as error:
        return error.messages[0]
    if endpoints.is_real_host(endpoint) and not django_settings.BRAZE_ALLOW_REAL_HOSTS:
        return "Calls to Braze itself are off in this environment (BRAZE_ALLOW_REAL_HOSTS)."
    return ""
