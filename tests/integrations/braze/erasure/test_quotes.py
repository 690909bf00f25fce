"""What Braze quotes of a deleted customer goes, however it is written, and wherever its words are kept."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.db import transaction
from django.db.models import Model

from integrations.braze import tasks
from integrations.braze.delivery import client
from integrations.braze.erasure import quotes
from integrations.braze.models import BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.models.ledger import MAX_WORDS
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.connections import started
from tests.integrations.braze.orders import fulfilled

Sync = Callable[[], None]
LOCKED: dict[type[Model], dict[str, str]] = {
    OutboxEntry: {"customer_external_id": "c2"}, BrazePurchase: {}, BrazeState: {}
}  # fmt: skip


@pytest.fixture(autouse=True)
def at_once(settings: Any) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = settings.BRAZE_DELETE_SETTLES_SECONDS = 0


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("no Ada Lovelace here", "no [removed] here"),
        ("no ADA LOVELACE, no Ada", "no [removed], no [removed]"),
        (r"no Jo \"Ace\" Smith", "no [removed]"),
        (
            r"no Z\u00fcrich, no Z\u00FCRICH, no O\u003cb\u003eHara \u0026 Sons",
            "no [removed], no [removed], no [removed]",
        ),
        (r"no \ud83d\ude00 Inc.", "no [removed]"),
        (r"no a\/b@example.com", "no [removed]"),
        (r"no two\nlines", "no [removed]"),
        (r"Adair cannot \u0026 will not", r"Adair cannot \u0026 will not"),
        ("x" * (MAX_WORDS - 5) + " Ada.", "x" * (MAX_WORDS - 5) + " [removed]."),
        ("x" * (MAX_WORDS - 6) + " Ada L", "x" * (MAX_WORDS - 6) + " [removed]"),
    ],
)
def test_it_finds_a_quoted_text_however_it_is_written(words: str, left: str) -> None:
    texts = {
        "Ada", "Ada Lovelace", 'Jo "Ace" Smith', "Zürich", "O<b>Hara & Sons", "😀 Inc.", "a/b@example.com",
        "two\nlines",
    }  # fmt: skip
    assert quotes.without(words, texts) == left


def test_ids_and_names_that_every_shop_has_may_stay() -> None:
    properties = {"event_id": "e-1", "order_id": "o-1", "purchase_id": "p-1", "name": "Ada", "of": ["Byron"]}
    sent = {"external_id": "c-1", "name": "LOGIN", "product_id": "CD-1", "email": "a@b.de", "properties": properties}
    assert quotes.texts_of(sent) == {"Ada", "Byron", "a@b.de"}


@pytest.fixture
def quoted(
    request: pytest.FixtureRequest, account: Account, braze: BrazeSettings, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> Customer:
    """An event whose contents Braze quotes in an error that names no object: the reason of all that came with it."""
    words: str = getattr(request, "param", "no Ada Lovelace")
    BrazeSettings.objects.update(unknown_events="hold")
    one, two = (Customer.objects.create(account=account, external_id=name) for name in ("c1", "c2"))
    sync()
    Event.objects.create(account=account, customer=one, type="WROTE", data={"name": "Ada Lovelace"})
    Event.objects.create(account=account, customer=two, type="WROTE")
    fulfilled(account, two, ("CD", 10))
    body = b'{"message":"success","errors":[{"type":"%s"}]}' % words.encode()
    with monkeypatch.context() as patch:
        patch.setattr(client, "post", lambda *arguments: client.Answer(201, body))
        sync()
    return one


def kept() -> list[str]:
    """Wherever Braze's words are kept."""
    return [
        *OutboxEntry.objects.filter(customer_external_id="c2").exclude(error="").values_list("error", flat=True),
        *BrazePurchase.objects.values_list("error", flat=True),
        *BrazeState.objects.values_list("last_error", flat=True),
        *Delivery.objects.filter(outcome="partial").values_list("answer", flat=True),
    ]


@pytest.mark.parametrize("quoted", ["no Ada Lovelace", r"no Ada \u004covelace"], indirect=True)
def test_it_goes_from_what_everybody_else_s_changes_say_as_well(quoted: Customer) -> None:
    quoted.delete()
    tasks.scrub()
    assert len(kept()) == 6
    assert {orjson.loads(each)["errors"][0]["type"] for each in kept()} == {"no [removed]"}


def test_each_reason_stays_with_its_own_change(quoted: Customer) -> None:
    others = OutboxEntry.objects.filter(customer_external_id="c2").exclude(error="").order_by("pk")
    for entry in others:
        OutboxEntry.objects.filter(pk=entry.pk).update(error=f"{entry.pk}: no Ada Lovelace")
    quoted.delete()
    tasks.scrub()
    assert [entry.error for entry in others.all()] == [f"{entry.pk}: no [removed]" for entry in others]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", [OutboxEntry, BrazePurchase, BrazeState])
def test_where_somebody_has_the_reason_locked_a_later_tick_can_still_find_it(
    quoted: Customer, model: type[Model]
) -> None:
    quoted.delete()
    with transaction.atomic():
        list(model._default_manager.filter(**LOCKED[model]).select_for_update())
        tick = started(tasks.scrub)
        tick.join(10)
        assert not tick.is_alive(), "it waits for a lock"
    assert any("Lovelace" in each for each in kept())
    tasks.scrub()
    assert {orjson.loads(each)["errors"][0]["type"] for each in kept()} == {"no [removed]"}
