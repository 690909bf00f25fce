"""The buffer: per account, the requests that are ready to be sent. A disposable copy of the ledger.

Keys, `<a>` being the account's id, in braces so that a cluster keeps one account's keys together:
  braze:{<a>}:ready   list of request ids, oldest first
  braze:{<a>}:bodies  hash, request id → compressed body
  braze:{<a>}:flight  sorted set, request id → end of its claim in ms: the requests being sent
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from integrations.braze.delivery import connection, ledger
from integrations.braze.models import Delivery

#: Requests of one account in flight at once.
IN_FLIGHT = 32
#: A claim expires after this time unless `keep` prolongs it, so a worker that dies before the start frees its place.
CLAIM_MS = 8_000
#: Ready requests are kept this long after the last one was made ready. What is still to be sent is pushed again; what
#: was taken back in an account that sends nothing any more would otherwise stay, personal data included.
KEPT_MS = 60_000


@dataclass(frozen=True, slots=True)
class Claim:
    """A request taken from the buffer; `body` is compressed, and empty where Redis has lost it."""

    id: UUID
    body: bytes


def push(account_id: int, deliveries: Iterable[Delivery]) -> int:
    """Make requests ready, except those that already are, or are in flight; returns how many were added."""
    arguments: list[str | bytes] = []
    for delivery in deliveries:
        arguments += (str(delivery.pk), bytes(delivery.body))
    if not arguments:
        return 0
    return int(_run("push", account_id, _keys(account_id), [KEPT_MS, *arguments]))


def claim(account_id: int, most: int = IN_FLIGHT) -> Claim | None:
    """The oldest ready request, in flight from now until `release`; None if none is ready or `most` are in flight."""
    claims = claim_some(account_id, 1, most)
    return claims[0] if claims else None


def claim_some(account_id: int, wanted: int, most: int = IN_FLIGHT) -> list[Claim]:
    """Up to `wanted` of the oldest ready requests, as long as no more than `most` are in flight in all."""
    answer = _run("claim", account_id, _keys(account_id), [most, CLAIM_MS, wanted, _longest_ms()])
    return [Claim(UUID(answer[at].decode()), answer[at + 1]) for at in range(0, len(answer), 2)]


def is_empty(account_id: int) -> bool:
    """Whether there is nothing to claim."""
    return not connection.client().exists(_keys(account_id)[0])


def unclaim(account_id: int, claims: Sequence[Claim]) -> None:
    """Make claimed requests ready again, ahead of the others: they could not be started."""
    arguments: list[str | bytes] = []
    for each in reversed(claims):
        arguments += (str(each.id), each.body)
    if arguments:
        _run("unclaim", account_id, _keys(account_id), [KEPT_MS, *arguments])


def keep(account_id: int, *delivery_ids: UUID) -> None:
    """Prolong the claims of requests that are about to be started: they now last as long as a request can take."""
    arguments: list[str | int] = [_longest_ms(), *map(str, delivery_ids)]
    _run("keep", account_id, [_keys(account_id)[2]], arguments)


def release(account_id: int, *delivery_ids: UUID) -> None:
    """End claims: the requests are settled, or will not be sent."""
    if delivery_ids:
        connection.client().zrem(_keys(account_id)[2], *map(str, delivery_ids))


def missing(account_id: int, delivery_ids: list[UUID]) -> list[UUID]:
    """Which of these Redis has neither ready nor in flight."""
    if not delivery_ids:
        return []
    ready, _, flight = _keys(account_id)
    answer = _run("missing", account_id, [ready, flight], [str(pk) for pk in delivery_ids])
    return [UUID(name.decode()) for name in answer]


def claimed(account_id: int, delivery_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these are claimed, so that somebody may be sending them."""
    arguments: list[str | int] = [_longest_ms(), *map(str, delivery_ids)]
    answer = _run("claimed", account_id, [_keys(account_id)[2]], arguments)
    return {UUID(name.decode()) for name in answer}


def _run(name: str, account_id: int, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    """Run a script. If one of the account's keys is of a wrong type, all are made anew: the next tick fills them."""
    return connection.run(name, keys, arguments, disposable=_keys(account_id))


def _longest_ms() -> int:
    """The longest that a request can take, and so that a claim can last."""
    return int(ledger.SILENT_AFTER.total_seconds() * 1000)


def _keys(account_id: int) -> list[str]:
    return [f"braze:{{{account_id}}}:{name}" for name in ("ready", "bodies", "flight")]
