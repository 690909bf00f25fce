"""How long the console's pages take over a million captured changes: `python -m benchmarks.console [--entries N]`.

Fills a temporary PostgreSQL, opens each page by Django's test client (no network, rendering included), and prints the
median of five looks with nothing cached, that of five more, the number of queries and the time that these took; then
one line of JSON. Exit 1 where a page takes longer than `LIMIT_MS`.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from dev.postgres import temporary_cluster

LIMIT_MS = 300.0
REPEATS = 5
ACCOUNTS = 5
ENTRIES_A_REQUEST = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--days", type=float, default=30.0, help="over which the entries were captured")
    options = parser.parse_args()
    with temporary_cluster() as url:
        os.environ |= {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "settings.test",
            "REDIS_URL": "",
            "LOG_LEVEL": "ERROR",
        }
        import django

        django.setup()
        from django.db import connections

        started = time.monotonic()
        _fill(options.entries, options.days)
        requests, took = options.entries // ENTRIES_A_REQUEST, time.monotonic() - started
        print(
            f"{options.entries:,} entries, {requests:,} requests over {options.days:g} days; filled in {took:.0f} s\n"
        )
        figures = list(_measure())
        connections.close_all()
    return _report(figures, options.entries)


# --- what is there --------------------------------------------------------------------------------------


def _fill(entries: int, days: float) -> None:
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    _accounts()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT setseed(0.5); SET work_mem = '256MB'; {_sql(entries, days)}")  # numbers only
        for table in ("outbox_outboxentry", "braze_delivery", "loyalty_customer", "loyalty_order", "loyalty_event",
                      "braze_brazeprofile", "braze_brazepurchase"):  # fmt: skip
            cursor.execute(f"VACUUM ANALYZE {table}")


def _accounts() -> None:
    from django.contrib.auth.models import User

    from integrations.braze.integration import TOPICS
    from integrations.braze.models import BrazeSettings
    from masivo_braze.loyalty.models import Account

    User.objects.create_superuser("operator", "operator@example.com", "operator")
    for number in range(1, ACCOUNTS + 1):
        account = Account.objects.create(pk=number, name=f"Merchant {number}", slug=f"merchant-{number}")
        BrazeSettings.objects.create(
            account=account, is_enabled=True, api_key=f"key-{number}", rest_endpoint="http://127.0.0.1:8010",
            **dict.fromkeys(TOPICS, True),
        )  # fmt: skip


def _body() -> bytes:
    import zlib

    event = {"external_id": "c1", "name": "VISIT", "time": "2026-11-24T12:00:00Z", "properties": {"page": "a" * 60}}
    return zlib.compress(json.dumps({"events": [event] * ENTRIES_A_REQUEST}).encode(), 1)


def _sql(entries: int, days: float) -> str:
    """Entry n is of account 1 + n mod 5 within its request; one in a thousand failed, one in twelve was skipped."""
    requests, customers = entries // ENTRIES_A_REQUEST, max(entries // 10, 100)
    age = f"now() - interval '1 second' * {days * 86_400} * (1 - n::float8 / {entries})"
    age_of_request = f"now() - interval '1 second' * {days * 86_400} * (1 - n::float8 / {requests})"
    account = f"1 + ((n - 1) / {ENTRIES_A_REQUEST})::int % {ACCOUNTS}"
    uuid = "md5('request' || {})::uuid"
    status = (
        f"CASE WHEN n > {entries} - 12000 THEN 'pending' WHEN n > {entries} - 13000 THEN 'buffered'"
        " WHEN n % 1000 = 7 THEN 'rejected' WHEN n % 2000 = 9 THEN 'unknown' WHEN n % 12 = 5 THEN 'skipped'"
        " ELSE 'delivered' END"
    )
    return f"""
INSERT INTO loyalty_customer (account_id, external_id, email, phone, first_name, last_name, gender, country, city,
    language, time_zone, is_anonymous, tier, points, tags, created_at, updated_at)
SELECT 1 + n % {ACCOUNTS}, 'c' || n, 'c' || n || '@example.com', '', 'Ada', 'No ' || n, '', '', '', '', '', false, '',
    0, '{{}}', now(), now() FROM generate_series(1, {customers}) n;
INSERT INTO loyalty_order (account_id, customer_id, order_id, status, currency, last_position, placed_at, fulfilled_at,
    channel, store, payment_method, data)
SELECT c.account_id, c.id, 'o' || c.id, 'FULFILLED', '', 0, now(), now(), '', '', '', '{{}}' FROM loyalty_customer c;
INSERT INTO loyalty_event (id, account_id, customer_id, type, occurred_at, data)
SELECT md5('event' || c.id)::uuid, c.account_id, c.id, 'VISIT', now(), '{{}}' FROM loyalty_customer c;
INSERT INTO braze_brazeprofile (account_id, external_id, attributes, uncertain, refused, recent, is_known, is_unproven,
    last_accepted_at)
SELECT account_id, external_id, '{{"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"}}', '[]',
    '{{}}', '{{}}', true, false, now() FROM loyalty_customer;
INSERT INTO braze_brazepurchase (account_id, customer_external_id, order_id, line, part, is_reversal, purchase_id,
    product_id, price, quantity, currency, time, properties, fate, error, delivery_id, created_at)
SELECT c.account_id, c.external_id, 'o' || c.id, 1, 1, false, 'o' || c.id || ':1:1', 'CD', 9.99, 1, 'USD', now(),
    '{{}}', 'delivered', '', md5('request' || 1 + c.id % {requests})::uuid, now() FROM loyalty_customer c;
INSERT INTO braze_delivery (id, account_id, endpoint, created_at, started_at, deadline, finished_at, status_code,
    outcome, answer, attributes, events, purchases, deletions, bytes, manifest, body)
SELECT {uuid.format("n")}, 1 + (n - 1) % {ACCOUNTS}, 'track', at, at + interval '40 ms', at + interval '60 s',
    at + interval '200 ms', 201, CASE WHEN n % 500 = 3 THEN 'partial' WHEN n % 700 = 5 THEN 'retry' ELSE 'accepted' END,
    '{{"message":"success"}}', 2, 6, 2, 0, 1800, jsonb_build_object('events', (SELECT jsonb_agg(jsonb_build_object(
    'customer', 'c' || k, 'entries', jsonb_build_array((n - 1) * {ENTRIES_A_REQUEST} + k), 'creates', true))
    FROM generate_series(1, {ENTRIES_A_REQUEST}) k)), '\\x{_body().hex()}'::bytea
FROM (SELECT n, {age_of_request} AS at FROM generate_series(1, {requests}) n) AS made;
INSERT INTO outbox_outboxentry (account_id, integration, kind, customer_external_id, subject, data, status, error,
    adjustments, worst, batch, parked, created_at, settled_at)
SELECT {account}, 'braze', (ARRAY['event', 'customer_updated', 'order'])[1 + n % 3],
    'c' || (1 + ({account} + {ACCOUNTS} * (n % {customers // ACCOUNTS})) % {customers}), '', '{{}}', status,
    CASE status
    WHEN 'skipped' THEN (ARRAY['nothing changed: Braze already has this', 'Events is switched off'])[1 + n % 2]
    WHEN 'rejected' THEN 'The value provided for the ''email'' field is not a valid email.'
    WHEN 'unknown' THEN 'The connection broke before Braze''s answer was complete: ConnectionError' ELSE '' END,
    '[]', '', CASE WHEN status IN ('pending', 'skipped') THEN NULL
    ELSE {uuid.format(f"(1 + (n - 1) / {ENTRIES_A_REQUEST})")} END, false, at,
    CASE WHEN status NOT IN ('pending', 'buffered') THEN at + interval '1 second' END
FROM (SELECT n, {age} AS at, {status} AS status FROM generate_series(1, {entries}) n) AS made;
"""


# --- what is measured -----------------------------------------------------------------------------------


def _pages() -> Iterator[tuple[str, str]]:
    """Names and addresses, records that there are included."""
    from django.urls import reverse

    from integrations.braze.models import BrazePurchase, Delivery
    from integrations.outbox.models import OutboxEntry
    from masivo_braze.loyalty.models import Customer, Event, Order

    customer = Customer.objects.filter(account=1).earliest("pk")
    order, event = Order.objects.filter(account=1).earliest("pk"), Event.objects.filter(account=1).first()
    failed = OutboxEntry.objects.filter(status="rejected").latest("pk")
    request = Delivery.objects.filter(account=1).latest("created_at")
    assert event is not None and BrazePurchase.objects.exists()
    health, arrival = reverse("admin:braze_accounthealth_changelist"), reverse("admin:braze_arrival_changelist")
    timeline = reverse("admin:braze_arrival_timeline", args=("merchant-1",))
    failed_list, skipped_list = (reverse(f"admin:braze_{name}_changelist") for name in ("failedsync", "skippedsync"))
    requests, changes = reverse("admin:braze_delivery_changelist"), reverse("admin:outbox_outboxentry_changelist")
    for period in ("hour", "day", "week"):
        yield f"health, all accounts, {period}", f"{health}?period={period}"
        yield f"health, one account, {period}", f"{health}merchant-1/?period={period}"
    yield "health, the part that refreshes", f"{health}merchant-1/now/"
    for what, term in (("customer", customer.external_id), ("e-mail", customer.email), ("order", order.order_id),
                       ("event", str(event.pk)), ("nothing", "nobody")):  # fmt: skip
        yield f"search: {what}", f"{arrival}?{urlencode({'q': term})}"
    yield "timeline of a customer", f"{timeline}?{urlencode({'customer': customer.external_id})}"
    yield "timeline of an order", f"{timeline}?{urlencode({'customer': customer.external_id, 'order': order.order_id})}"
    yield "failed syncs", failed_list
    assert failed.settled_at is not None
    day = f"{failed_list}?account__id__exact=1&status=unknown&day={failed.settled_at:%Y-%m-%d}"
    yield "failed syncs, of an account and day", day
    yield "a failed sync", reverse("admin:braze_failedsync_change", args=(failed.pk,))
    yield "skipped changes", skipped_list
    yield "skipped changes, of an account", f"{skipped_list}?account__id__exact=1"
    yield "skipped changes, filtered to none", f"{skipped_list}?kind__exact=audience_left"
    yield "requests", requests
    yield "requests, of an account", f"{requests}?account__id__exact=1"
    yield "requests, refused (there are none)", f"{requests}?outcome__exact=refused"
    yield "a request", reverse("admin:braze_delivery_change", args=(request.pk,))
    yield "captured changes", changes
    yield "captured changes, the 30th page", f"{changes}?p=30"
    yield "purchases sent", reverse("admin:braze_brazepurchase_changelist")
    yield "what Braze has", reverse("admin:braze_brazeprofile_changelist")
    for model in ("customer", "event", "order", "audience"):
        yield f"Masivo's {model}s", reverse(f"admin:loyalty_{model}_changelist")
    yield "customers, a name searched", f"{reverse('admin:loyalty_customer_changelist')}?q=lovelace"
    yield "a customer", reverse("admin:loyalty_customer_change", args=(customer.pk,))
    yield "an order", reverse("admin:loyalty_order_change", args=(order.pk,))


def _measure() -> Iterator[dict[str, object]]:
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    settings.ALLOWED_HOSTS = ["*"]
    client = Client()
    client.force_login(User.objects.get(username="operator"))
    for name, address in _pages():
        client.get(address)  # templates are loaded once a process
        with _forgetful():
            first, queries, sql = zip(*(_open(client, address) for _ in range(REPEATS)), strict=True)
        client.get(address)
        again, *_ = zip(*(_open(client, address) for _ in range(REPEATS)), strict=True)
        ms, ms_again = (round(statistics.median(times), 1) for times in (first, again))
        yield {
            "page": name,
            "ms": ms,
            "again": ms_again,
            "queries": queries[0],
            "sql": round(statistics.median(sql), 1),
        }


@contextmanager
def _forgetful() -> Iterator[None]:
    """Nothing that a page keeps for some seconds makes the next look fast."""
    from django.core.cache import cache

    kept, cache.get = cache.get, lambda *_, **__: None  # type: ignore[method-assign]
    yield
    cache.get = kept  # type: ignore[method-assign]


def _open(client: object, address: str) -> tuple[float, int, float]:
    """Milliseconds, queries, and the milliseconds that these took."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        started = time.perf_counter()
        answer = client.get(address)  # type: ignore[attr-defined]
        took = (time.perf_counter() - started) * 1_000
    assert answer.status_code in (200, 302), f"{address}: {answer.status_code}"
    if os.environ.get("SLOWEST"):
        for query in sorted(queries.captured_queries, key=lambda one: -float(one["time"]))[:3]:
            print(query["time"], query["sql"][:400])
    return took, len(queries), sum(float(query["time"]) for query in queries.captured_queries) * 1_000


def _report(figures: list[dict[str, object]], entries: int) -> int:
    print(f"{'page':44} {'ms':>8} {'again':>8} {'queries':>8} {'of ms SQL':>10}")
    for figure in figures:
        print(f"{figure['page']:44} {figure['ms']:>8} {figure['again']:>8} {figure['queries']:>8} {figure['sql']:>10}")
    slow = [str(figure["page"]) for figure in figures if float(str(figure["ms"])) > LIMIT_MS]
    print(f"\n{'all' if not slow else 'NOT all'} under {LIMIT_MS:.0f} ms {slow or ''}")
    print(json.dumps({"benchmark": "console", "entries": entries, "limit_ms": LIMIT_MS, "pages": figures}))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
