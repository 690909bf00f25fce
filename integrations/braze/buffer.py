"""The buffer: per account, the requests that are ready to be sent. A disposable copy of the ledger.

Keys, `<a>` being the account's id, in braces so that a cluster keeps one account's keys together:
  braze:{<a>}:ready   list of request ids, oldest first
  braze:{<a>}:bodies  hash, request id → compressed body
  braze:{<a>}:flight  sorted set, request id → end of its claim in ms: the requests being sent
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from integrations.braze import connection, ledger
from integrations.braze.models import Delivery

#: Requests of one account in flight at once.
IN_FLIGHT = 16
#: A claim lasts this long unless it is kept: a worker that dies before the start holds its place no longer.
CLAIM_MS = 8_000


@dataclass(frozen=True, slots=True)
class Claim:
    """A request taken from the buffer; `body` is compressed, and empty where Redis has lost it."""

    id: UUID
    body: bytes


def push(account_id: int, deliveries: Iterable[Delivery]) -> int:
    """Make requests ready; those that are so already, or in flight, stay as they are. Returns how many were added."""
    arguments: list[str | bytes] = []
    for delivery in deliveries:
        arguments += (str(delivery.pk), bytes(delivery.body))
    if not arguments:
        return 0
    return int(connection.script("push")(keys=_keys(account_id), args=arguments))


def claim(account_id: int, most: int = IN_FLIGHT) -> Claim | None:
    """The oldest ready request, counted as in flight until `release`; None where none is, or `most` are in flight."""
    answer = connection.script("claim")(keys=_keys(account_id), args=[most, CLAIM_MS])
    return Claim(UUID(answer[0].decode()), answer[1]) if answer else None


def keep(account_id: int, delivery_id: UUID) -> None:
    """The request is about to be started: its claim now lasts as long as the request can."""
    arguments: list[str | int] = [str(delivery_id), int(ledger.SILENT_AFTER.total_seconds() * 1000)]
    connection.script("keep")(keys=[_keys(account_id)[2]], args=arguments)


def release(account_id: int, delivery_id: UUID) -> None:
    connection.client().zrem(_keys(account_id)[2], str(delivery_id))


def missing(account_id: int, delivery_ids: list[UUID]) -> list[UUID]:
    """Which of these Redis has neither ready nor in flight."""
    if not delivery_ids:
        return []
    ready, _, flight = _keys(account_id)
    answer = connection.script("missing")(keys=[ready, flight], args=[str(pk) for pk in delivery_ids])
    return [UUID(name.decode()) for name in answer]


def _keys(account_id: int) -> list[str]:
    return [f"braze:{{{account_id}}}:{name}" for name in ("ready", "bodies", "flight")]
