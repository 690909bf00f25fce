"""Reads what the mirror holds of users, by the thousand."""

from collections.abc import Collection
from typing import Any

from django.db.models import QuerySet

from integrations.braze.mapping.rows import Mirrored, from_our_json, text_of
from integrations.braze.models import BrazeProfile
from integrations.outbox.prepared import Prepared

#: The fields of `Mirrored`, in its order: where a user stands, and what is held of them, as JSON.
_STANDING = ("account_id", "external_id", "is_known", "is_unproven", "deleted_at", "last_accepted_at")
_HELD = ("attributes", "uncertain", "refused", "recent")


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
    """What is believed of these users, by external id; nothing is known of those who are missing.

    Whoever writes rows that were read here has them locked: others doubt or forget them meanwhile.
    """
    if not external_ids:
        return {}
    rows = (_LOCKED_PROFILES if locked else _PROFILES).rows(account_id=account_id, external_ids=external_ids)
    return {row[1]: Mirrored(*row[:6], *map(from_our_json, row[6:])) for row in rows}


def standings(account_id: int, external_ids: set[str]) -> dict[str, Mirrored]:
    """The same without what they hold."""
    if not external_ids:
        return {}
    rows = _STANDINGS.rows(account_id=account_id, external_ids=external_ids)
    return {row[1]: Mirrored(*row) for row in rows}
