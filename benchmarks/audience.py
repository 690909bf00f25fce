"""`python -m benchmarks.audience [--members N]`: an audience of so many members deleted, and what that takes in memory.

Braze is cleaned up member by member, so each becomes a captured change, in the transaction of the deletion.
"""

import argparse
import resource
import time

from benchmarks import report
from benchmarks.rig import Rig, rig


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=100_000)
    options = parser.parse_args()
    with rig() as running:
        report.show("audience", [run(running, options.members)])


def run(running: Rig, members: int) -> dict[str, object]:
    from benchmarks import shop
    from integrations.outbox.models import OutboxEntry
    from masivo_braze.loyalty.models import Audience

    account = shop.account("audience", running.sandbox.url)
    audience = Audience.objects.create(account=account, audience_id="big", name="Everybody")
    _fill(account.pk, audience.pk, members)
    before, begun = _most_memory(), time.perf_counter()
    audience.delete()
    seconds = time.perf_counter() - begun
    captured = OutboxEntry.objects.filter(kind="audience_left").count()
    return {
        "members": members, "captured": captured, "seconds": round(seconds, 1),
        "members/s": round(members / seconds), "more memory MB": round(_most_memory() - before),
    }  # fmt: skip


def _fill(account_id: int, audience_id: int, members: int) -> None:
    """By the database itself: how members come to be there is not what is measured."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO loyalty_customer (account_id, external_id, email, phone, first_name, last_name, gender,"
            " country, city, language, time_zone, is_anonymous, tier, points, tags, created_at, updated_at)"
            " SELECT %s, 'm-' || n, '', '', '', '', '', '', '', '', '', false, '', 0, '{}', now(), now()"
            " FROM generate_series(1, %s) n",
            [account_id, members],
        )
        cursor.execute(
            "INSERT INTO loyalty_membership (audience_id, customer_id, joined_at)"
            " SELECT %s, id, now() FROM loyalty_customer WHERE account_id = %s",
            [audience_id, account_id],
        )
        cursor.execute("ANALYZE")


def _most_memory() -> float:
    """The most that this process has ever had resident, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
