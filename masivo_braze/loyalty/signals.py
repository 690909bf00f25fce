"""Signals for changes that Django's own per-row signals do not cover.

A change of one row made by `save()` or `delete()`, and every deletion but that of memberships, sends Django's
post_save / post_delete. Rows changed in bulk (`bulk_create`, `bulk_update`, `QuerySet.update`) send `rows_changed`,
memberships deleted through a queryset send `members_left`. Each change of a row sends exactly one of these.
All are sent inside the transaction of the change: what a receiver writes is committed with it, or not at all.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from django.db import models
from django.dispatch import Signal

Action = Literal["created", "updated"]

#: Most rows in one signal, so that memory stays flat however many rows are changed.
CHUNK_ROWS = 5_000

#: sender: the model class. Keyword arguments:
#:   action   "created" or "updated"
#:   rows     list of instances, as they are now, with the relations of `Record.loaded_with`
#:   changed  frozenset of the field names that an update wrote; None otherwise
#:   before   {pk: {field name: value before the update}} for the fields of `Record.tracked`; {} otherwise
rows_changed = Signal()

#: sender: Membership. An audience may have a million members, so receivers get keys, not instances.
#:   audience   the Audience, which is still there, as its members' customers are
#:   customers  list of the customers' primary keys
members_left = Signal()


def send_rows_changed(
    sender: type[models.Model],
    action: Action,
    rows: Sequence[models.Model],
    *,
    changed: frozenset[str] | None = None,
    before: Mapping[Any, Mapping[str, Any]] | None = None,
) -> None:
    """Send `rows_changed` for at most `CHUNK_ROWS` rows; without rows nothing is sent."""
    if rows:
        rows_changed.send(sender=sender, action=action, rows=list(rows), changed=changed, before=dict(before or {}))
