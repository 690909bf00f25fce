"""The relay: pending entries become requests in the ledger, then in the buffer.

One relay works on an account at a time, under a lease, in rounds. All reading and composing happens outside any
transaction; then one commit writes the round's requests and moves its entries, or nothing at all.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic

import redis
from django.conf import settings as django_settings
from django.db import DataError, IntegrityError
from kombu.exceptions import OperationalError

from integrations.braze import mirror
from integrations.braze.composing import compose, packing, rounds
from integrations.braze.composing.committing import Overtaken, commit
from integrations.braze.composing.records import Records
from integrations.braze.composing.rounds import Composed, Round
from integrations.braze.composing.taking import Pass
from integrations.braze.delivery import buffer, commits, ledger
from integrations.braze.delivery.commits import Counted
from integrations.braze.delivery.giving_way import NO_PAUSES, Pauses
from integrations.braze.integration import NAME
from integrations.braze.mapping.objects import Bundle, Entry
from integrations.braze.models import BrazeSettings, Delivery
from integrations.outbox import lease, oldest
from integrations.outbox.lease import Held, LeaseLost

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=django_settings.BRAZE_LEASE_SECONDS)
#: One task does one bounded slice. Where as many accounts have backlogs as there are relay processes, another account
#: waits for one of these; a shorter one would find out anew who is busy too often.
SLICE_SECONDS = 1.5


def relay(account_id: int, gives_way: bool = False, most_rounds: int | None = None) -> int:
    """Compose requests until nothing free is pending, enough is ready, or the slice is over.

    `gives_way`: pause after each round, if other accounts need the machine.
    `most_rounds`: how many rounds may be made, where others are waiting for this process; None: as many as there are.
    Returns how many changes it moved on: into requests, or to an end without one.
    """
    first = oldest.first_pending(account_id, NAME)
    if first is None or ledger.look(account_id).fullness >= 0.5:
        return 0  # a pass begins with what was left behind by the last one: it has to be worth it
    with lease.hold(account_id, NAME, LEASE) as held, ThreadPoolExecutor(1, "braze-compose") as composer:
        return _pass(account_id, first, held, composer, gives_way, most_rounds) if held else 0


def _pass(account_id: int, first: int, held: Held, composer: Executor, gives_way: bool, most_rounds: int | None) -> int:
    """Compose a round while the one before it is committed and the next one read: the database and we work at once.

    Rounds of a pass have no customer in common, so none depends on another's commit.
    """
    moved, end, passing, left = 0, monotonic() + SLICE_SECONDS, Pass(account_id, first), most_rounds
    composing: Future[Composed] | None = None
    pauses = Pauses(account_id) if gives_way and most_rounds is None else NO_PAUSES
    while True:
        upcoming = rounds.read(account_id, passing, end) if left != 0 else None
        left = left - 1 if left and upcoming else left
        if upcoming and upcoming.has_more:
            pauses.look_around()
            pauses.let_others_pass()
        following = composer.submit(_compose, account_id, upcoming, pauses) if upcoming else None
        try:
            if composing:
                composed = composing.result()
                pauses.let_others_pass()
                moved += _make_or_halve(account_id, held, composed)
        except Overtaken:
            passing, following = Pass(account_id, first), None
        except LeaseLost:
            logger.info("relay of account %s lost its lease; nothing was committed", account_id)
            return moved
        if following is None and (composing is None or passing.is_over or left == 0):
            held.has_emptied = moved > 0 and passing.is_over
            return moved
        if composing:
            pauses.rest()
        composing = following


def _compose(account_id: int, round: Round, pauses: Pauses = NO_PAUSES) -> Composed:
    """In a thread beside the database's: no query here."""
    settings, loaded, now = round.settings, round.records, round.now
    bundles = []
    for customer, theirs in round.by_customer.items():
        if customer not in round.waiting:
            pauses.let_others_pass()
            bundles.append(_bundle(account_id, customer, theirs, settings, loaded, now))
    round.waiting |= _too_soon(bundles, settings, loaded, now)
    bundles = [bundle for bundle in bundles if bundle.customer not in round.waiting]
    drafts = packing.pack(bundles, settings.batch_limit)
    for draft in drafts:
        pauses.let_others_pass()
        draft.seal()
    return Composed(round, bundles, drafts)


def _too_soon(
    bundles: Sequence[Bundle], settings: BrazeSettings, loaded: Records, now: datetime
) -> dict[str, datetime]:
    """Customers with an attribute that was changed a moment ago: Braze might apply the two changes in the other order.

    Braze: "leave a few seconds between requests for the same user" [Braze: /users/track, FAQ].
    """
    gap, waiting = settings.attribute_gap_seconds, {}
    for bundle in bundles if gap else ():
        profile = loaded.profiles.get(bundle.customer)
        if profile is None or not profile.recent:
            continue  # an object would have to be decoded for its names
        names = [name for item in bundle.attributes for name in item.body]
        free_at = mirror.free_at(profile, names, gap, now)
        if free_at > now.timestamp():
            waiting[bundle.customer] = datetime.fromtimestamp(free_at, UTC)
    return waiting


def _bundle(
    account_id: int,
    customer: str,
    entries: Sequence[Entry],
    settings: BrazeSettings,
    loaded: Records,
    now: datetime,
) -> Bundle:
    """A customer whose records cannot be mapped is set aside, visibly, and stops nobody else."""
    try:
        return compose.bundle(customer, entries, settings, loaded, now)
    except Exception as error:  # whatever is wrong with one customer's records must not hold up the account
        logger.exception("changes of a customer of account %s cannot be mapped", account_id)
        return _set_aside(customer, entries, f"cannot be mapped: {type(error).__name__}: {error}")


def _set_aside(customer: str, entries: Sequence[Entry], reason: str) -> Bundle:
    return Bundle(customer, rejected=dict.fromkeys((entry.pk for entry in entries), reason))


def _make_or_halve(account_id: int, held: Held, composed: Composed, is_anew: bool = False) -> int:
    """What the database does not take is halved until the culprit stands alone, and that is set aside, visibly.

    No way for this to happen is known; but if it did, each commit of the account would fail as a whole, for ever.
    `is_anew`: the records were read after the previous round's commit; older ones may have been all that was wrong.
    """
    try:
        return _make(account_id, held, composed)
    except (IntegrityError, DataError) as error:
        parts = rounds.halves(account_id, composed.round)
        if len(parts) > 1 or not is_anew:
            return sum(_make_or_halve(account_id, held, _compose(account_id, part), True) for part in parts)
        ((customer, entries),) = composed.round.by_customer.items()
        words = str(error).partition("\n")[0]  # what follows are values
        logger.error("changes of a customer of account %s cannot be stored: %s", account_id, words)
        reason = f"cannot be stored: {type(error).__name__}: {words}"
        composed.round.waiting.clear()
        return _make(account_id, held, Composed(composed.round, [_set_aside(customer, entries, reason)], []))


def _make(account_id: int, held: Held, composed: Composed) -> int:
    """The requests of a round, durably, and then in the buffer; how many changes are moved on by that."""
    committed = commit(account_id, held, composed)
    if committed.deliveries:
        _push(account_id, committed.deliveries, committed.counted, composed.round)
    return committed.moved


def _push(account_id: int, deliveries: Sequence[Delivery], counted: Counted, round: Round) -> None:
    """A failing Redis costs a delay: the flush pushes again what is not there, or did not fit."""
    from integrations.braze import tasks

    try:
        commits.tell_redis(counted)
        fitting = set(ledger.next_to_send(account_id))
        buffer.push(account_id, [delivery for delivery in deliveries if delivery.pk in fitting])
        tasks.wake_flush(account_id, len(deliveries), round.on_probation, round.has_more)
    except (redis.RedisError, OperationalError) as error:
        logger.warning("requests of account %s are not in the buffer yet: %s", account_id, type(error).__name__)
