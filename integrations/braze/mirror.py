"""The mirror: deltas against what Braze is believed to hold, and how answers change that belief. Pure."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from integrations.braze.mapping.rows import AnyProfile
from integrations.outbox.clock import latest

_ABSENT = object()
#: Codes that name an attribute without quoting it [Braze: /users/track].
_CODES = {"EMAIL_BAD_FORMAT": "email"}
#: The longest gap between changes of an attribute that an account can ask for.
RECENT_SECONDS = 300


def delta(profile: AnyProfile | None, desired: dict[str, Any], removed: Collection[str] = ()) -> dict[str, Any]:
    """What to send so that Braze holds `desired`; None for what it must no longer hold.

    Values are compared with their types, so 1, True and "1" differ. Names in `removed` are nulled even where
    the mirror knows nothing of them, unless `desired` has a value for them. A value that Braze has refused is left out.
    """
    held = profile.attributes if profile else {}
    forced = {name for name in removed if desired.get(name) is None}
    if profile:
        forced.update(profile.uncertain)
    wanted = {**dict.fromkeys(removed), **desired} if removed else desired
    changed = {
        name: value
        for name, value in wanted.items()
        if (now := held.get(name)).__class__ is not value.__class__ or now != value or name in forced
    }
    refused = profile.refused if profile else None
    if not refused:
        return changed
    return {name: value for name, value in changed.items() if not _same(refused.get(name, _ABSENT), value)}


def accept(profile: AnyProfile, sent: dict[str, Any]) -> None:
    """Braze accepted these attributes: remember them; a None removes an attribute."""
    kept = {name: value for name, value in profile.attributes.items() if name not in sent}
    profile.attributes = kept | {name: value for name, value in sent.items() if value is not None}
    profile.uncertain = [name for name in profile.uncertain if name not in sent]
    profile.refused = {name: value for name, value in profile.refused.items() if name not in sent}


def accept_unproven(profile: AnyProfile, sent: dict[str, Any]) -> None:
    """Braze took these attributes of a user who may not be there: their values may be held, or have had no effect.

    What they remove is held in neither case.
    """
    cleared = {name for name, value in sent.items() if value is None}
    profile.attributes = {name: value for name, value in profile.attributes.items() if name not in cleared}
    profile.uncertain = sorted({*profile.uncertain, *sent} - cleared)


def refuse(profile: AnyProfile, sent: dict[str, Any], reason: str) -> bool:
    """Braze refused an object: remember the values that `reason` names; returns whether it names any.

    Braze quotes names: "The value provided for the 'email' field is not a valid email." Or it answers by a documented
    code [Braze: errors].
    """
    by_code = {name for code, name in _CODES.items() if code in reason}
    named = {name: value for name, value in sent.items() if f"'{name}'" in reason or name in by_code}
    profile.refused = profile.refused | named
    return bool(named)


def doubt(profile: AnyProfile, sent: Iterable[str]) -> None:
    """Braze may or may not have accepted these attributes: until it accepts them, they differ from any value."""
    profile.uncertain = sorted({*profile.uncertain, *sent})


def touch(profile: AnyProfile, sent: Iterable[str], at: float) -> None:
    """Braze queued, or may have queued, a change of these attributes at this time (seconds since 1970)."""
    recent = {name: then for name, then in profile.recent.items() if at - then < RECENT_SECONDS}
    profile.recent = recent | dict.fromkeys(sent, at)


def free_at(profile: AnyProfile | None, names: Iterable[str], gap_seconds: float, now: datetime) -> float:
    """From when on none of these attributes was changed within the gap, in seconds since 1970; 0 if none ever was.

    Of a change that is dated ahead, as the clock was set back since, nothing is known but that it was earlier.
    """
    until = latest(now).timestamp()
    found = (profile.recent[name] for name in names if name in profile.recent) if profile else ()
    times = [then for then in found if then <= until]
    return max(times) + gap_seconds if times and gap_seconds else 0.0


def _same(held: Any, wanted: Any) -> bool:
    if type(held) is not type(wanted):
        return False
    return bool(held == wanted)
