"""Signals for changes that Django's own per-row signals do not cover.

A change of one row made by `save()` or `delete()`, and every deletion but that of memberships, sends Django's
post_save / post_delete. Rows changed in bulk (`bulk_create`, `bulk_update`, `QuerySet.update`) send `rows_changed`,
memberships deleted through a queryset send `members_left`. Each change of a row sends exactly one of these.
All are sent inside the transaction of the change: what a receiver writes is committed with it, or not at all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from django.db import models
from django.db.models.signals import ModelSignal
from django.dispatch import Signal

Action = Literal["created", "updated"]

#: Most rows in one signal, so that memory stays flat however many rows are changed.
CHUNK_ROWS = 5_000

#: sender: the model class, never a proxy of it. Keyword arguments:
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
        sender = sender._meta.concrete_model or sender
        rows_changed.send(sender=sender, action=action, rows=list(rows), changed=changed, before=dict(before or {}))


def connect_rows(signal: ModelSignal, receiver: Callable[..., None], sender: type[models.Model], uid: str) -> None:
    """Connect to a signal of Django's for the rows of a model, whichever proxy they are written through.

    Call it when all models are loaded: Django sends the signal in the name of the proxy alone.
    """
    for model in (sender, *_proxies(sender)):
        signal.connect(receiver, sender=model, dispatch_uid=uid)


def _proxies(model: type[models.Model]) -> Iterator[type[models.Model]]:
    for each in model.__subclasses__():
        if each._meta.proxy:
            yield each
            yield from _proxies(each)
