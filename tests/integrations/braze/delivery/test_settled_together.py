"""Answers that are settled in one transaction count as they would one after the other."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection

from integrations.braze.composing import relay
from integrations.braze.delivery import flush, insisting, ledger, readiness, settlement, silent, verdicts
from integrations.braze.delivery.client import Answer
from integrations.braze.delivery.settlement import Answered
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.outbox.clock import database_now
from masivo_braze.loyalty.models import Account, Customer

FAILED, FINE, REFUSED = Answer(500, b"{}"), Answer(201, b'{"message": "success"}'), Answer(401, b"{}")
WAIT = Answer(429, b'{"message": "Too many."}', {"Retry-After": "30"})


@pytest.mark.parametrize(
    ("answers", "failures", "is_paused"),
    [
        ([FAILED, FAILED, FAILED], 1, False),  # they were in flight together
        ([FAILED, FAILED, FINE], 0, False),
        ([FAILED, FINE, FAILED], 1, False),
        ([REFUSED, FINE, FAILED], 1, True),
    ],
)
def test_each_answer_counts_after_the_one_before(
    account: Account, braze: BrazeSettings, answers: list[Answer], failures: int, is_paused: bool
) -> None:
    for number in range(3):
        Customer.objects.create(account=account, external_id=f"c{number}")
        relay.relay(account.pk)
    ids = [delivery.pk for delivery in Delivery.objects.order_by("created_at")]
    assert ledger.start_all(ids) == set(ids)
    told = [
        Answered(pk, verdicts.of_answer(answer, braze.api_key), answer.status)
        for pk, answer in zip(ids, answers, strict=True)
    ]
    assert settlement.settle_all(account.pk, told) == set(ids)
    state = BrazeState.objects.get()
    assert (state.failures, state.paused_at is not None) == (failures, is_paused)
    assert flush.flush(account.pk) == 0


@pytest.mark.parametrize("answers", [[WAIT, FINE], [FAILED, WAIT, FINE], [WAIT, FAILED, FINE]])
def test_what_was_in_flight_and_goes_well_does_not_end_a_wait(
    account: Account, braze: BrazeSettings, answers: list[Answer]
) -> None:
    """Braze asked for it after that request had left, whether or not another one failed besides."""
    for number, _ in enumerate(answers):
        Customer.objects.create(account=account, external_id=f"c{number}")
        relay.relay(account.pk)
    ids = ledger.start_all(Delivery.objects.values_list("pk", flat=True))
    told = zip(ids, answers, strict=True)
    settlement.settle_all(account.pk, [Answered(pk, verdicts.of_answer(one, braze.api_key)) for pk, one in told])
    state, ready = BrazeState.objects.get(), readiness.of(account.pk)
    assert state.backoff_until is not None
    assert state.backoff_until - database_now() > timedelta(seconds=25)
    assert (state.failures, ready.state, ready.on_probation) == (0, "backing off", False)
    assert state.last_error


def test_an_answer_that_came_too_late_keeps_no_other_from_being_settled(account: Account, braze: BrazeSettings) -> None:
    late, other = _two_started(account)
    assert settlement.settle(late, verdicts.silent())
    answers = [Answered(pk, verdicts.of_answer(FINE, braze.api_key), 201) for pk in (late, other)]
    assert settlement.settle_all(account.pk, answers) == {other}
    assert dict(Delivery.objects.values_list("pk", "outcome")) == {late: "unknown", other: "accepted"}


@pytest.mark.made_up
def test_an_answer_that_cannot_be_settled_keeps_no_other_from_it(
    account: Account, braze: BrazeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt, other = _two_started(account)
    Delivery.objects.filter(pk=spoilt).update(body=b"no zlib")
    answers = [Answered(pk, verdicts.of_answer(FINE, braze.api_key), 201) for pk in (spoilt, other)]
    assert list(insisting.settle(account.pk, answers, lambda: iter(()))) == []
    assert dict(Delivery.objects.values_list("pk", "outcome")) == {spoilt: "", other: "accepted"}
    assert f"request {spoilt} could not be settled" in caplog.text


@pytest.mark.made_up
def test_a_silent_request_that_cannot_be_settled_keeps_no_other_from_it(account: Account, braze: BrazeSettings) -> None:
    spoilt, other = _two_started(account)
    Delivery.objects.filter(pk=spoilt).update(body=b"no zlib")
    Delivery.objects.update(deadline=database_now() - timedelta(seconds=1))
    silent.settle()
    assert dict(Delivery.objects.values_list("pk", "outcome")) == {spoilt: "", other: "unknown"}


def _two_started(account: Account) -> list[UUID]:
    """The older one first."""
    for name in ("c1", "c2"):
        Customer.objects.create(account=account, external_id=name)
        relay.relay(account.pk)
    ledger.start_all(Delivery.objects.values_list("pk", flat=True))
    return list(Delivery.objects.order_by("created_at").values_list("pk", flat=True))


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_answers_are_settled_by_the_server_that_takes_over_from_one_that_is_read_only(
    account: Account, braze: BrazeSettings
) -> None:
    """Their outcomes are known to this process alone: they became unknown, and purchases had to be decided about."""
    Customer.objects.create(account=account, external_id="c1")
    relay.relay(account.pk)
    (pk,) = ledger.start_all(Delivery.objects.values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only TO on")  # of this connection only, as after a failover
    answers = [Answered(pk, verdicts.of_answer(FINE, braze.api_key), 201)]
    assert list(insisting.settle(account.pk, answers, lambda: iter(()))) == []
    assert Delivery.objects.get().outcome == "accepted"
