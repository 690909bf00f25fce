"""One request on its way: in a thread that only waits for Braze, and uses no database."""

import logging
import time
import zlib
from concurrent.futures import Future
from dataclasses import dataclass
from math import inf
from uuid import UUID

from integrations.braze.delivery import client, verdicts
from integrations.braze.delivery.verdicts import Verdict
from integrations.braze.models import BrazeSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sending:
    """A started request, with moments on `time.monotonic`.

    It may leave from `slot`. A sender that has not begun by `until` gives it back; over a connection that is only made
    after `leave_by`, nothing is sent.
    """

    id: UUID
    endpoint: str
    body: bytes
    settings: BrazeSettings
    slot: float
    until: float
    leave_by: float


#: Verdict and status code of a request that was sent; None if it could not leave (in time), so that nobody has seen it.
Sent = tuple[Verdict, int | None] | None


def run(future: "Future[Sent]", sending: Sending) -> None:
    """Send, and set the future's result.

    An error concerns this request alone: raised where answers are collected, it would take others' answers with it.
    """
    if not future.set_running_or_notify_cancel():
        return  # it was given back
    try:
        sent = send(sending)
    except Exception as error:  # none that the client raises: whether anything was sent is not known
        logger.exception("request %s broke down", sending.id)
        sent = verdicts.no_answer(f"The request broke down: {type(error).__name__}"), None  # the next one may, too
    except BaseException as error:  # the process ends
        future.set_exception(error)
        return
    future.set_result(sent)


def send(sending: Sending) -> Sent:
    """Wait for the slot, send, and wait for Braze's answer."""
    time.sleep(max(sending.slot - time.monotonic(), 0.0))
    if time.monotonic() > sending.until:
        return None
    try:
        body = zlib.decompress(sending.body)
    except (zlib.error, MemoryError):
        logger.warning("request %s cannot be unpacked: its changes are composed anew", sending.id)
        return None
    return deliver(sending.settings, sending.endpoint, body, sending.leave_by)


def deliver(settings: BrazeSettings, endpoint: str, body: bytes, leave_by: float = inf) -> tuple[Verdict, int | None]:
    try:
        answer = client.post(settings.rest_endpoint, endpoint, settings.api_key, body, leave_by)
    except client.NotSent as error:
        return verdicts.not_sent(str(error)), None
    except client.NoAnswer as error:
        return verdicts.no_answer(str(error)), None
    return verdicts.of_answer(answer, settings.api_key), answer.status
