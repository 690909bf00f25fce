"""Reads the mirror of many users at once, and moves it by the fates of their objects."""

from collections.abc import Collection, Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from integrations.braze import mirror
from integrations.braze.delivery.fates import Line, is_outdated
from integrations.braze.delivery.verdicts import ObjectFate
from integrations.braze.mapping.rows import Mirrored, from_our_json, text_of
from integrations.braze.models import BrazeProfile, BrazeSettings
from integrations.outbox import bulk, capture
from integrations.outbox.capture import Change
from integrations.outbox.models import Kind, Topic
from integrations.outbox.prepared import Prepared

#: The fields of `Mirrored`, in its order: where a user stands, and what is held of them, as JSON.
_STANDING = ("account_id", "external_id", "is_known", "is_unproven", "deleted_at", "last_accepted_at")
_HELD = ("attributes", "uncertain", "refused", "recent")
_MIRRORED = [field.name for field in fields(Mirrored) if field.name not in ("account_id", "external_id")]
_STATE_TOPICS = (Topic.CUSTOMER_UPDATED, Topic.CUSTOMER_TAGS, Topic.AUDIENCES)


def _of_profiles(account_id: Any, external_ids: Any) -> "QuerySet[BrazeProfile]":
    return BrazeProfile.objects.filter(account_id=account_id, external_id__among=external_ids)


def _with_what_they_hold(profiles: "QuerySet[BrazeProfile]") -> "QuerySet[BrazeProfile, Any]":
    return profiles.values_list(*_STANDING, *map(text_of, _HELD))


_PROFILES = Prepared(lambda account_id, external_ids: _with_what_they_hold(_of_profiles(account_id, external_ids)))
_LOCKED_PROFILES = Prepared(
    lambda account_id, external_ids: _with_what_they_hold(
        _of_profiles(account_id, external_ids).select_for_update().order_by("pk")
    )
)
_STANDINGS = Prepared(lambda account_id, external_ids: _of_profiles(account_id, external_ids).values_list(*_STANDING))


def mirrored(account_id: int, external_ids: Collection[str], locked: bool = False) -> dict[str, Mirrored]:
    """What is believed of these users, by external id; users of whom nothing is known are missing.

    Use `locked` to write the rows afterwards: others may change them meanwhile.
    """
    if not external_ids:
        return {}
    rows = (_LOCKED_PROFILES if locked else _PROFILES).rows(account_id=account_id, external_ids=external_ids)
    return {row[1]: Mirrored(*row[:6], *map(from_our_json, row[6:])) for row in rows}


def standings(account_id: int, external_ids: set[str]) -> dict[str, Mirrored]:
    """The same without attributes: whether the users exist, and when they were last sent to or deleted."""
    if not external_ids:
        return {}
    rows = _STANDINGS.rows(account_id=account_id, external_ids=external_ids)
    return {row[1]: Mirrored(*row) for row in rows}


def move(account_id: int, lines: list[Line], now: datetime) -> None:
    """Move the mirror by the lines' fates: what was accepted is remembered, what may have been becomes uncertain."""
    moving = [line for line in lines if line.told in (ObjectFate.DELIVERED, ObjectFate.UNKNOWN) or _is_refused(line)]
    moving = [line for line in moving if not _tells_nothing_new(line)]
    if not moving:
        return
    customers = {line.customer for line in moving}
    profiles = mirrored(account_id, customers, locked=True)
    strangers = customers - profiles.keys()
    for line in moving:
        profile = profiles.setdefault(line.customer, Mirrored(account_id, line.customer))
        if not _is_refused(line):
            _move_one(profile, line, now)
        elif mirror.refuse(profile, _attributes(line), line.reason):
            capture.record([state_again(account_id, line.customer)])  # the rest, without what was refused
        elif line.customer in strangers:
            del profiles[line.customer]
    _send_again_what_was_unproven(account_id, profiles.values())
    bulk.insert(BrazeProfile, list(profiles.values()), unique=("account", "external_id"), update=_MIRRORED)


def _send_again_what_was_unproven(account_id: int, profiles: Iterable[Mirrored]) -> None:
    """Updates that Braze took before the user was known to exist may have had no effect."""
    proven = [profile for profile in profiles if profile.is_known and profile.is_unproven]
    for profile in proven:
        profile.is_unproven = False
    capture.record([state_again(account_id, profile.external_id) for profile in proven])


def state_again(account_id: int, customer: str, subject: str = "") -> Change:
    """A change that has the customer's whole state composed: attributes, tags and audiences."""
    return Change(account_id, Kind.CUSTOMER_UPDATED, customer, _STATE_TOPICS, subject, {"resync": True})


def _tells_nothing_new(line: Line) -> bool:
    """Whether it is an accepted event or purchase of a user whom Braze was known to have, as most are."""
    return line.known and line.told == ObjectFate.DELIVERED and line.array in ("events", "purchases")


def doubted(line: Line, settings: BrazeSettings, now: datetime) -> Line:
    """The line, but unknown if it was delivered under older settings: it may have gone to another workspace."""
    is_old = is_outdated(line.request, settings, now) and line.array != "deletions"
    return line._replace(told=ObjectFate.UNKNOWN) if is_old and line.told == ObjectFate.DELIVERED else line


def _is_refused(line: Line) -> bool:
    return line.told == ObjectFate.REJECTED and line.array == "attributes"


def _move_one(profile: Mirrored, line: Line, now: datetime) -> None:
    """Lines come in the order in which Braze applies them.

    An object that may not have found its user proves nothing.
    """
    if line.array == "attributes":
        mirror.touch(profile, _attributes(line), now.timestamp())
    profile.last_accepted_at = now  # or may have been: a deletion keeps its distance either way
    if line.told == ObjectFate.UNKNOWN:
        if line.array == "attributes":
            mirror.doubt(profile, _attributes(line))
            profile.is_unproven = profile.is_unproven or not (profile.is_known or line.creates)
        elif line.array == "deletions":
            mirror.doubt(profile, profile.attributes)
            profile.is_known, profile.deleted_at = False, now  # if it was taken, it has to spread
        return
    if line.array == "deletions":
        profile.attributes, profile.uncertain, profile.is_known, profile.deleted_at = {}, [], False, now
        profile.is_unproven, profile.recent, profile.refused = False, {}, {}
        return
    profile.is_known, profile.deleted_at = profile.is_known or line.creates, None
    if line.array == "attributes" and profile.is_known:
        mirror.accept(profile, _attributes(line))
    elif line.array == "attributes":
        mirror.accept_unproven(profile, _attributes(line))
        profile.is_unproven = True


def _attributes(line: Line) -> dict[str, Any]:
    return {name: value for name, value in line.sent.items() if name not in ("external_id", "_update_existing_only")}
