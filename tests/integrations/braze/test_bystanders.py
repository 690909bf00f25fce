"""Whatever becomes of a customer's order, nothing moves of others: who has the same ids in another account, and who is
in the same account.

They stand in every state in which something could be taken for the customer's own.
"""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import Model
from django.utils import timezone

from integrations.braze.composing import relay
from integrations.braze.erasure import scrubbing
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.recovery import resend, resolution
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Subscription
from masivo_braze.loyalty.models import Account, Audience, Customer, Event
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled, reverse

# What others have is made up: it stands beside what happens.
pytestmark = pytest.mark.made_up

OF_ACCOUNT: tuple[type[Model], ...] = (
    BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery, OutboxEntry, Subscription,
)  # fmt: skip
#: Purchases and changes of an order that wait, are on their way or in doubt, were refused, or never left.
FATES = (("pending", ""), ("pending", "a doubt"), ("buffered", ""), ("unknown", "a doubt"), ("rejected", "no"))
STATUSES = ("pending", "buffered", "unknown", "rejected")


class Case:
    """A customer with an order, and the sandbox that their requests go to."""

    def __init__(self, account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> None:
        self.account, self.braze, self.sandbox, self.sync = account, braze, sandbox, sync
        self.one = Customer.objects.create(account=account, external_id="c1", first_name="Ada", tags={"vip": True})
        self.audience = Audience.objects.create(account=account, name="Readers")
        self.audience.customers.add(self.one)
        self.order = fulfilled(account, self.one, ("CD", 10), ("DVD", 5))
        Event.objects.create(account=account, customer=self.one, type="LOGIN")

    @property
    def mine(self) -> Any:
        return OutboxEntry.objects.filter(account=self.account, customer_external_id="c1")

    def in_doubt(self) -> None:
        BrazeSettings.objects.filter(pk=self.braze.pk).update(unknown_events="hold")
        self.sandbox.faults.add(close="after", times=1)
        self.settle()

    def no_purchases(self) -> None:
        self.braze.refresh_from_db()
        self.braze.sync_purchases = False
        self.braze.save()
        self.settle()

    def settle(self) -> None:
        settle_all(self.sync)


def refused(case: Case) -> None:
    case.sandbox.faults.add(status=400, contains='"CD"')
    case.settle()


def too_many(case: Case) -> None:
    customers = Customer.objects.bulk_create(Customer(account=case.account, external_id=f"n{n}") for n in range(60))
    Event.objects.bulk_create(Event(account=case.account, customer=one, type="LOGIN") for one in customers)
    case.sandbox.faults.add(status=400, message="Max Input Length Exceeded", times=1)
    case.settle()


def wrong_key(case: Case) -> None:
    relay.relay(case.account.pk)
    case.sandbox.faults.add(status=401, times=1)
    case.sync()


def saved_settings(case: Case) -> None:
    relay.relay(case.account.pk)
    case.braze.save()


def deleted_in_doubt(case: Case) -> None:
    case.in_doubt()
    resolution.send_again(case.mine.filter(status="unknown"))
    case.one.delete()
    case.settle()


def no_longer_wanted_in_doubt(case: Case) -> None:
    case.in_doubt()
    resolution.send_again(case.mine.filter(status="unknown"))
    case.no_purchases()


def no_longer_wanted(case: Case) -> None:
    case.sandbox.faults.add(status=503, times=1)
    case.sync()
    case.no_purchases()
    assert not case.mine.filter(status="unknown").exists()


def cannot_be_mapped(case: Case) -> None:
    case.sync()
    BrazePurchase.objects.filter(account=case.account, order_id="o1").update(properties=["of another shape"])
    reverse(case.order)
    case.settle()


def edited_before_it_left(case: Case) -> None:
    case.sandbox.faults.add(status=503, times=1)
    case.sync()
    case.order.lines.filter(sku="CD").update(value=7)
    case.settle()
    assert not case.mine.filter(status="pending").exists()


def treated_as_delivered(case: Case) -> None:
    case.in_doubt()
    reverse(case.order)
    resolution.treat_as_delivered(case.mine.filter(status="unknown"), by="ada")
    case.settle()


def discarded(case: Case) -> None:
    case.in_doubt()
    resolution.discard(case.mine.filter(status="unknown"), by="ada", reason="no")
    case.settle()


def reversed_in_doubt(case: Case) -> None:
    case.in_doubt()
    reverse(case.order)
    case.settle()


def reversed_and_deleted(case: Case) -> None:
    case.settle()
    reverse(case.order)
    case.order.delete()
    case.settle()
    assert case.sandbox.summary()["revenue"] == {"USD": "0.00"}


def created_again_in_doubt(case: Case) -> None:
    case.in_doubt()
    case.one.delete()
    case.settle()
    order = fulfilled(case.account, Customer.objects.create(account=case.account, external_id="c1"), ("CD", 10))
    case.settle()
    reverse(order)
    case.settle()


def renamed_audience(case: Case) -> None:
    case.sync()
    case.audience.name = "Writers"
    case.audience.save()
    case.settle()


def deleted_audience(case: Case) -> None:
    case.sync()
    case.audience.delete()
    case.settle()


def sent_anew(case: Case) -> None:
    case.sync()
    resend.resend(case.one)
    case.settle()


def scrubbed(case: Case) -> None:
    case.in_doubt()
    case.one.delete()
    case.settle()
    scrubbing.work_off()


def lost_commits(case: Case) -> None:
    case.sync()
    BrazeState.objects.filter(account=case.account).update(commits=0)
    case.settle()
    assert BrazeState.objects.get(account=case.account).pause_kind == "restored"
    call_command("braze_restored", since=database_now().isoformat(), account=case.account.slug)


OF_ORDER = [
    refused, too_many, wrong_key, saved_settings, deleted_in_doubt, no_longer_wanted, no_longer_wanted_in_doubt,
    cannot_be_mapped, edited_before_it_left, treated_as_delivered, discarded, reversed_in_doubt,
    created_again_in_doubt, reversed_and_deleted, renamed_audience, deleted_audience, sent_anew, scrubbed,
]  # fmt: skip


@pytest.fixture
def case(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any) -> Case:
    settings.BRAZE_DELETE_AFTER_SECONDS = settings.BRAZE_DELETE_SETTLES_SECONDS = 0
    return Case(account, braze, sandbox, sync)


@pytest.mark.parametrize("happens", [*OF_ORDER, lost_commits])
def test_nothing_moves_in_other_accounts_with_the_same_ids(happens: Callable[[Case], None], case: Case) -> None:
    others = [_account_beside(case, fate, error) for fate, error in FATES]
    before = _rows(account__in=others)
    happens(case)
    assert _rows(account__in=others) == before


@pytest.mark.parametrize("happens", OF_ORDER)
def test_nothing_moves_of_another_customer(happens: Callable[[Case], None], case: Case) -> None:
    Customer.objects.create(account=case.account, external_id="c2")
    case.sync()
    for number, (fate, error) in enumerate(FATES):
        _purchases(case.account, "c2", f"other{number}", fate, error)
    for status in ("unknown", "rejected"):
        _entry(case.account, "c2", "other3", status, subject="0")
    before = _rows(account=case.account, customer_external_id="c2")
    profile = BrazeProfile.objects.filter(account=case.account, external_id="c2")
    held = list(profile.values())
    happens(case)
    assert _rows(account=case.account, customer_external_id="c2") == before
    assert list(profile.values()) == held


def test_what_is_sent_of_an_account_is_its_own_whatever_others_have_under_the_same_ids(case: Case) -> None:
    others = [_account_beside(case, fate, error) for fate, error in (*FATES, ("delivered", ""))]
    Customer.objects.filter(account__in=others).update(first_name="Eve", tags={"vip": False, "of": "others"})
    Audience.objects.create(account=others[0], name="Theirs").customers.set(Customer.objects.filter(account=others[0]))
    case.settle()
    profile = case.sandbox.profile("c1")
    assert profile["standard_attributes"]["first_name"] == "Ada"
    assert profile["custom_attributes"] == {"tag_vip": True, "masivo_Readers": True, "loyalty_points": 0}
    assert case.sandbox.summary()["revenue"] == {"USD": "15.00"}
    case.audience.customers.remove(case.one)
    reverse(case.order)
    case.settle()
    assert case.sandbox.profile("c1")["custom_attributes"] == {"tag_vip": True, "loyalty_points": 0}
    assert case.sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert set(case.mine.values_list("status", flat=True)) == {"delivered"}


def _rows(**whose: Any) -> list[dict[str, Any]]:
    models = [BrazePurchase, OutboxEntry] if "customer_external_id" in whose else OF_ACCOUNT
    return [row for model in models for row in model._default_manager.filter(**whose).order_by("pk").values()]


def _account_beside(case: Case, fate: str, error: str) -> Account:
    """Its customer, order and audience have the ids of the case's; what is left of them is captured and waits."""
    slug = f"beside-{fate}-{bool(error)}"
    made = Account.objects.create(name="Beside", slug=slug)
    BrazeSettings.objects.create(
        account=made, is_enabled=True, api_key=slug, rest_endpoint=case.sandbox.url, **dict.fromkeys(TOPICS, True)
    )
    one = Customer.objects.create(account=made, external_id="c1", first_name="Ada", tags={"vip": True})
    Audience.objects.create(account=made, name="Readers").customers.add(one)
    fulfilled(made, one, ("CD", 10), ("DVD", 5))
    _purchases(made, "c1", "o1", fate, error)
    for status in STATUSES:
        _entry(made, "c1", "o1", status, subject=str(case.order.pk))
    BrazeProfile.objects.create(account=made, external_id="c1", attributes={"first_name": "Ada"}, is_known=True)
    for started_at in (None, timezone.now()):
        Delivery.objects.create(account=made, endpoint="track", body=b"-", bytes=1, started_at=started_at)
    return made


def _purchases(account: Account, customer: str, order_id: str, fate: str, error: str) -> None:
    for line in (1, 2):
        for ending in ("", ":R"):
            BrazePurchase.objects.create(
                account=account, customer_external_id=customer, order_id=order_id, line=line, part=1,
                is_reversal=bool(ending), purchase_id=f"{order_id}:{line}:1{ending}", product_id="CD", price=10,
                quantity=1, currency="USD", time=timezone.now(), properties={"order_id": order_id}, fate=fate,
                error=error, delivery_id=uuid.uuid4() if fate == "buffered" else None,
            )  # fmt: skip


def _entry(account: Account, customer: str, order_id: str, status: str, subject: str) -> None:
    OutboxEntry.objects.create(
        account=account, integration="braze", kind="order", customer_external_id=customer, subject=subject,
        data={"order_id": order_id, "status": "FULFILLED"}, status=status, parked=status == "pending",
        due_at=timezone.now() if status == "pending" else None, error="a reason", adjustments=["an adjustment"],
    )  # fmt: skip
