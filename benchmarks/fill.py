"""`python -m benchmarks.fill [--scale X]`: objects a request against the best possible, and data points sent.

Shallow: the relay runs after every 20 changes, as it does when little happens. Deep: it finds all of them at once.
"""

import argparse
from collections.abc import Callable

from benchmarks import report
from benchmarks.rig import Rig, rig


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    with rig(BRAZE_READY_REQUESTS="1000000") as running:
        report.show("fill", run(running, options.scale))


def run(running: Rig, scale: float) -> list[dict[str, object]]:
    from benchmarks import shop

    account = shop.account("fill", running.sandbox.url)
    people = shop.customers(account, int(2_000 * scale))
    _sync(account.pk)

    def deep() -> None:
        shop.events(account, people, int(4_000 * scale), seed=1)
        shop.edits(people, int(2_000 * scale), seed=2)
        shop.edits(people, int(2_000 * scale), seed=3)
        shop.orders(account, people, int(500 * scale), seed=4)
        _sync(account.pk)

    def shallow() -> None:
        for number in range(int(20 * scale)):
            shop.events(account, people, 14, seed=100 + number)
            shop.edits(people, 6, seed=200 + number)
            _sync(account.pk)

    return [_row("deep, mixed", account.pk, deep), _row("shallow, 20 at a time", account.pk, shallow)]


def _sync(account_id: int) -> None:
    from integrations.braze.composing import relay
    from integrations.braze.delivery import flush

    while relay.relay(account_id):
        while flush.flush(account_id):
            pass


def _row(what: str, account_id: int, work: Callable[[], None]) -> dict[str, object]:
    """Data points: each attribute set, each event and each purchase counts one [Braze: data points].

    The ordinary way sends the whole profile with each edit.
    """
    from integrations.braze.models import Delivery
    from integrations.outbox.models import OutboxEntry

    known = set(Delivery.objects.values_list("pk", flat=True))
    last = OutboxEntry.objects.order_by("-pk").values_list("pk", flat=True)[0]
    work()
    made = [each for each in Delivery.objects.exclude(outcome="dissolved") if each.pk not in known]
    counts = [(each.attributes, each.events, each.purchases) for each in made]
    objects = sum(map(sum, counts))
    best = max(-(-sum(array) // 75) for array in zip(*counts, strict=True))
    points = sum(len(item) - 1 for each in made for item in each.payload.get("attributes", []))
    facts = sum(events + purchases for _, events, purchases in counts)
    edits = OutboxEntry.objects.filter(account_id=account_id, pk__gt=last, kind="customer_updated").count()
    return {
        "backlog": what, "objects": objects, "requests": len(made), "best possible": best,
        "objects/request": round(objects / len(made), 1), "data points": points + facts,
        "the ordinary way": edits * _profile_size(account_id) + facts,
    }  # fmt: skip


def _profile_size(account_id: int) -> int:
    from integrations.braze.models import BrazeProfile

    return len(BrazeProfile.objects.filter(account_id=account_id).first().attributes)  # type: ignore[union-attr]  # there


if __name__ == "__main__":
    main()
