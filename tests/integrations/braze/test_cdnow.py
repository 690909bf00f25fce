"""A real shop's purchases: what Braze holds of every customer is what they paid, to the cent; then, after a refund
of everything, nothing.
"""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from django.core.management import call_command

from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Order

SAMPLE = Path(__file__).parents[3] / "dev" / "data" / "cdnow_sample.txt"


def paid() -> dict[str, Decimal]:
    """Dollars by customer, straight from the file."""
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for line in SAMPLE.read_text().splitlines():
        customer, *_, dollars = line.split()
        totals[customer] += Decimal(dollars)
    return totals


def held(sandbox: SandboxServer) -> dict[str, Decimal]:
    """Revenue by customer, as the sandbox added it up from the digits it was sent."""
    profiles = sandbox.state.profiles.by_external_id
    return sandbox.call(lambda: {name: profile.revenue.get("USD", Decimal(0)) for name, profile in profiles.items()})


def test_a_real_shops_revenue_is_exact_for_every_customer_and_nothing_once_all_is_reversed(
    account: Account, braze: BrazeSettings, sync: Callable[[], None], sandbox: SandboxServer
) -> None:
    call_command("import_loyalty", str(SAMPLE), account=account.slug)
    sync()
    assert len(paid()) == 2357
    assert held(sandbox) == paid()
    assert sandbox.summary()["revenue"] == {"USD": "244091.94"}
    Order.objects.update(status="REVERSED")
    sync()
    assert held(sandbox) == dict.fromkeys(paid(), Decimal(0))
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0
    assert (sandbox.summary()["rejected"], sandbox.summary()["dropped"]) == (0, {})
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"delivered"}
    assert not BrazePurchase.objects.exclude(fate="delivered").exists()
