"""What the settings page says about an account: its state, and warnings."""

from django.http import HttpRequest

from integrations.braze.delivery import readiness
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeSettings, BrazeState, endpoints
from integrations.braze.models.account import PauseKind
from integrations.outbox.admin import to_the_second
from masivo_braze.console.scoping import accounts_of

#: Shown for an account that is paused because its database was restored; takes the account's slug.
RESTORED = (
    "<p>This database was put back to an earlier time: requests had already been sent that it no longer knows of. "
    "Sending on would double purchases and events, so nothing is sent, and saving these settings does not change that. "
    "Changes are captured meanwhile. Somebody with access to the server has to run, with the time at which the backup "
    'was taken:</p><pre style="white-space: pre-wrap; overflow-wrap: anywhere">'
    "python manage.py braze_restored --account {} --since 2026-01-31T09:30:00Z</pre>"
    "<p>Events and orders that were not settled when this was noticed, and those that Braze had refused, are then held "
    "as failed syncs of unknown outcome, since they may have been sent, to be decided about one by one or together; "
    "attributes are sent again, which does no harm; and the account goes on.</p>"
)


def in_words(ready: readiness.Readiness, state: BrazeState | None) -> str:
    if state and ready.state == "paused" and not state.paused_at:
        since = to_the_second(state.held_at)
        return f"{ready.detail}, since {since}. Nothing is lost; “Resume” on its Health page ends this."
    if state and ready.state == "paused":
        words = f"paused since {to_the_second(state.paused_at)}: {ready.detail}"
        if state.pause_kind == PauseKind.RESTORED:
            return words
        if state.held_at:  # a person's pause is ended by a person alone
            held = f"{readiness.held_in_words(state)}, since {to_the_second(state.held_at)}"
            return f"{words}. Nothing is lost. It is also {held}; “Resume” on its Health page ends both."
        return f"{words}. Nothing is lost; saving these settings resumes the account."
    if state and ready.state == "backing off":
        return f"backing off until {to_the_second(state.backoff_until)}: {ready.detail}"
    return f"{ready.state}: {ready.detail}" if ready.detail else ready.state


def _shared_budget(request: HttpRequest, settings: BrazeSettings) -> str:
    """A warning about accounts with the same key, or "". Accounts that this person may not see are not named."""
    if not settings.api_key or not (others := settings.sharing_key()):
        return ""
    mine = set(accounts_of(request.user).values_list("pk", flat=True))
    known = [str(other.account) for other in others if other.account_id in mine]
    unknown = len(others) - len(known)
    names = ", ".join([*known, *([f"{unknown} other account{'s' * (unknown > 1)}"] if unknown else [])])
    return f"Shares its API key, and so its rate limit, with {names}: the tightest of their limits holds for all."


def warnings(request: HttpRequest, settings: BrazeSettings) -> list[str]:
    """Warnings about settings that were accepted but may not do what the operator expects."""
    found = [endpoints.hint(settings.rest_endpoint), _shared_budget(request, settings)]
    ready, is_captured = readiness.of(settings.account_id), any(getattr(settings, toggle) for toggle in TOPICS)
    if ready.state == "incomplete":
        first = "Changes are captured, but nothing is sent" if is_captured else "Nothing can be sent"
        found.append(f"{first} until this is corrected: {ready.detail}")
    if settings.is_enabled and not is_captured:
        found.append("Nothing is captured: everything under “What is sent” is off.")
    return [words for words in found if words]
