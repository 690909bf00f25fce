from collections.abc import Iterator

import pytest

from masivo_braze.loyalty.models import Account, Customer, Order
from tests.loyalty.recorder import Recorder


@pytest.fixture
def account(db: None) -> Account:
    return Account.objects.create(name="Café Primavera", slug="primavera", currency="COP")


@pytest.fixture
def other_account(db: None) -> Account:
    return Account.objects.create(name="Other", slug="other")


@pytest.fixture
def customers(account: Account) -> list[Customer]:
    """c0 … c4, with a tag each."""
    return [Customer.objects.create(account=account, external_id=f"c{n}", tags={"n": n}) for n in range(5)]


@pytest.fixture
def order(account: Account, customers: list[Customer]) -> Order:
    return Order.objects.create(account=account, customer=customers[0], order_id="o-1")


@pytest.fixture
def changes(account: Account) -> Iterator[Recorder]:
    """What is told of changes from here on."""
    recorder = Recorder()
    recorder.connect()
    yield recorder
    recorder.disconnect()
