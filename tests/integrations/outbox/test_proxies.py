"""A record that is written through a proxy model is captured like any other."""

from collections.abc import Callable, Iterator

import pytest
from django.db.models.signals import ModelSignal, post_delete, post_save
from django.test.utils import isolate_apps

from integrations.outbox import receivers
from masivo_braze.loyalty.models import Account, Customer

with isolate_apps("masivo_braze.loyalty"):

    class Regular(Customer):
        class Meta:
            proxy = True
            app_label = "loyalty"

    class Vip(Regular):
        class Meta:
            proxy = True
            app_label = "loyalty"


SIGNALS: dict[str, ModelSignal] = {"outbox.customer_saved": post_save, "outbox.customer_deleted": post_delete}


@pytest.fixture(autouse=True)
def connected() -> Iterator[None]:
    """As at the start of a process that has these models."""
    receivers.connect()
    yield
    for proxy in (Regular, Vip):
        for uid, signal in SIGNALS.items():
            assert signal.disconnect(sender=proxy, dispatch_uid=uid)


@pytest.mark.parametrize("proxy", [Regular, Vip])
def test_it_captures_a_customer_through_a_proxy(
    account: Account, want_all: None, captured: Callable[[], list[tuple[str, str]]], proxy: type[Customer]
) -> None:
    one = proxy.objects.create(account=account, external_id="c1")
    proxy.objects.update(tier="gold")
    proxy.objects.bulk_create([proxy(account=account, external_id="c2")])
    one.delete()
    expected = [("customer_created", "c1"), ("customer_updated", "c1"), ("customer_created", "c2")]
    assert captured() == [*expected, ("customer_deleted", "c1")]
