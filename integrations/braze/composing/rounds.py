"""Rounds of the relay: entries taken together, with everything that composing them needs."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic

from integrations.braze.composing import packing, records, waiting
from integrations.braze.composing.records import Records
from integrations.braze.composing.taking import Pass
from integrations.braze.delivery import commits, ledger, readiness
from integrations.braze.mapping.objects import Bundle, Entry
from integrations.braze.models import BrazeSettings

#: A round's events may take this much, as the database writes their data, so that a relay's memory has a bound. Most
#: rounds take a tenth of it.
MOST_EVENT_BYTES = 16_000_000


@dataclass(slots=True)
class Round:
    """Entries taken together, the records behind them, and which of the customers have to wait, until when."""

    settings: BrazeSettings
    by_customer: dict[str, list[Entry]]
    records: Records
    waiting: dict[str, datetime]
    now: datetime  #: by the database's clock, like the dates of settings: the two are compared
    on_probation: bool  #: the account's last request failed
    has_more: bool  #: it is not all that is pending of the account


@dataclass(slots=True)
class Composed:
    """A round and what it comes to; nothing of it is in the database yet."""

    round: Round
    bundles: list[Bundle]
    drafts: list[packing.Draft]


def read(account_id: int, passing: Pass, end: float) -> Round | None:
    """The next round of a pass; None if nothing more may be composed now, or `end` (on `time.monotonic`) has passed."""
    while not passing.is_over and monotonic() < end:
        ready, look = readiness.of(account_id), ledger.look(account_id)
        is_sound = commits.may_go_on(ready.account_state)
        if not is_sound or not ready.is_ready or ready.settings is None or look.fullness >= 1:
            return None
        if look.has_deletions:
            ledger.make_way_for_deletions(account_id)
        now = look.now
        if entries := passing.take(now):
            events, first_left = records.events_within(entries, MOST_EVENT_BYTES)
            if first_left is not None:
                entries = passing.put_back(entries, first_left)
            by_customer: dict[str, list[Entry]] = defaultdict(list)
            for entry in entries:
                by_customer[entry.customer_external_id].append(entry)
            loaded = records.load(account_id, entries, events)
            due = waiting.due(account_id, by_customer, loaded, ready.settings, now)
            has_more = not passing.is_over
            return Round(ready.settings, by_customer, loaded, due, now, ready.on_probation, has_more)
    return None


def halves(account_id: int, round: Round) -> list[Round]:
    """The round split by customers, with records read anew, as a failed commit has changed them.

    A round of one customer comes back as one.
    """
    names = list(round.by_customer)
    middle = len(names) // 2
    return [_of(account_id, round, part) for part in (names[:middle], names[middle:]) if part]


def _of(account_id: int, round: Round, names: Collection[str]) -> Round:
    by_customer = {name: round.by_customer[name] for name in names}
    wait = {name: round.waiting[name] for name in names if name in round.waiting}
    loaded = records.load(account_id, [entry for theirs in by_customer.values() for entry in theirs])
    return replace(round, by_customer=by_customer, records=loaded, waiting=wait)
