"""`manage.py import_loyalty`: what a file says is in the database afterwards, once, whatever else is in the file."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from masivo_braze.loyalty.management.commands import import_loyalty
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Membership, Order, OrderLine
from tests.loyalty.recorder import Recorder

CDNOW_SAMPLE = Path(__file__).parents[2] / "dev" / "data" / "cdnow_sample.txt"
EVENT_ID = "7b8f7f4e-5f0e-4a55-9a53-0d3a2f7f1c11"

CUSTOMER = {"type": "customer", "external_id": "c1", "email": "ana@example.com", "tags": {"vip": True, "visits": 2.5}}
EVENT = {
    "type": "event",
    "id": EVENT_ID,
    "customer": "c1",
    "event_type": "VISIT",
    "occurred_at": "2024-05-01T10:00:00Z",
}
LINE = {"sku": "latte", "name": "Latte", "quantity": 2, "value": 9.90, "discounted_value": "8.905"}
ORDER = {
    "type": "order",
    "order_id": "o1",
    "customer": "c1",
    "status": "FULFILLED",
    "currency": "USD",
    "placed_at": "2024-05-01T10:00:00-05:00",
    "lines": [LINE, {"sku": "bun", "value": 1}],
}
AUDIENCE = {"type": "audience", "name": "Regulars", "customers": ["c1"]}
ALL = [CUSTOMER, EVENT, ORDER, AUDIENCE]


class Import:
    """Runs the command on a file of these lines; afterwards knows what it printed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "records"
        self.errors: list[str] = []
        self.output = ""

    def __call__(self, *lines: Any, **options: Any) -> bool:
        """Whether the command succeeded."""
        text = [line if isinstance(line, str | bytes) else json.dumps(line) for line in lines]
        self.path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in text))
        return self.run(self.path, **options)

    def run(self, path: Path, **options: Any) -> bool:
        stdout, stderr = StringIO(), StringIO()
        try:
            call_command(
                "import_loyalty", str(path), **{"account": "primavera", **options}, stdout=stdout, stderr=stderr
            )
        except CommandError as error:
            assert error.returncode == 1
            return False
        finally:
            self.errors = stderr.getvalue().splitlines()
            self.output = stdout.getvalue()
        return True


@pytest.fixture
def run_import(account: Account, tmp_path: Path) -> Import:
    return Import(tmp_path)


def test_it_imports_the_cdnow_sample_to_the_cent(run_import: Import) -> None:
    assert run_import.run(CDNOW_SAMPLE)
    rows = [line.split() for line in CDNOW_SAMPLE.read_text().splitlines()]
    assert Customer.objects.count() == len({row[0] for row in rows}) == 2_357
    assert Order.objects.filter(status="FULFILLED").count() == len(rows) == 6_919
    lines = OrderLine.objects.all()
    assert sum(line.quantity for line in lines) == sum(int(row[3]) for row in rows) == 16_479
    assert sum(line.paid for line in lines) == sum(Decimal(row[4]) for row in rows) == Decimal("244091.94")
    assert run_import.output.splitlines()[0] == "customers: 2357 created, 0 changed, 0 unchanged"
    order = Order.objects.get(order_id="cdnow-00004-19970101-1")
    assert (order.customer.external_id, order.effective_currency) == ("00004", "USD")
    assert order.fulfilled_at == order.placed_at == datetime(1997, 1, 1, 12, tzinfo=UTC)
    line = order.lines.get()
    assert (line.sku, line.name, line.quantity, line.paid) == ("CD", "Compact disc", 2, Decimal("29.33"))


def test_it_changes_and_tells_nothing_the_second_time(run_import: Import, changes: Recorder) -> None:
    run_import.run(CDNOW_SAMPLE)
    assert len(changes.all) == 2_357 + 2 * 6_919
    assert run_import(*ALL)
    changes.clear()
    assert run_import(*ALL)
    assert run_import.run(CDNOW_SAMPLE)
    assert changes.all == []


def test_it_takes_null_for_a_time_that_is_filled_in(run_import: Import, changes: Recorder) -> None:
    order = {**ORDER, "fulfilled_at": None}
    assert run_import(CUSTOMER, order)
    changes.clear()
    assert run_import(CUSTOMER, order)
    assert changes.all == []


def test_it_numbers_the_purchases_of_one_day(run_import: Import) -> None:
    line = " 00004 0001 19970101  2   29.33"
    assert run_import(line, line, " 00004 0001 19970102  1    0.00")
    assert list(Order.objects.order_by("pk").values_list("order_id", flat=True)) == [
        "cdnow-00004-19970101-1",
        "cdnow-00004-19970101-2",
        "cdnow-00004-19970102-1",
    ]
    assert OrderLine.objects.get(order__order_id="cdnow-00004-19970102-1").paid == 0


@pytest.mark.parametrize("broken", [" 00004 0001 19970101  0   29.33", " 00004 0001 19970101  2   2x.33"])
def test_a_purchase_keeps_its_number_while_an_earlier_one_of_the_day_is_broken(run_import: Import, broken: str) -> None:
    other = " 00004 0001 19970101  1   14.96"
    assert not run_import(broken, other)
    assert run_import(" 00004 0001 19970101  2   29.33", other)
    assert "order lines: 1 created, 0 changed, 1 unchanged" in run_import.output
    paid = {line.order.order_id: line.paid for line in OrderLine.objects.select_related("order")}
    assert paid == {"cdnow-00004-19970101-1": Decimal("29.33"), "cdnow-00004-19970101-2": Decimal("14.96")}


def test_a_purchase_that_was_cut_off_has_no_other_amount(run_import: Import) -> None:
    """A file that came in part may end in the middle of an amount, which Braze would count as revenue."""
    whole = " 00004 0001 19970101  2   29.33"
    for end in range(len(whole)):
        run_import(" 00021 0002 19970101  3   63.34", whole[:end])
        assert [order.order_id for order in Order.objects.all()] == ["cdnow-00021-19970101-1"]


def test_it_imports_every_kind_of_record(run_import: Import, account: Account) -> None:
    assert run_import(*ALL)
    customer, event, order, audience = (
        Customer.objects.get(),
        Event.objects.get(),
        Order.objects.get(),
        Audience.objects.get(),
    )
    assert (customer.external_id, customer.email, customer.tags) == (
        "c1",
        "ana@example.com",
        {"vip": True, "visits": 2.5},
    )
    assert (str(event.id), event.type, event.customer) == (EVENT_ID, "VISIT", customer)
    assert event.occurred_at == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert (order.customer, order.status, order.placed_at) == (
        customer,
        "FULFILLED",
        datetime(2024, 5, 1, 15, tzinfo=UTC),
    )
    assert order.fulfilled_at is not None
    assert [(line.position, line.sku, line.quantity, line.paid) for line in order.lines.all()] == [
        (1, "latte", 2, Decimal("8.905")),
        (2, "bun", 1, Decimal("1")),
    ]
    assert (audience.name, [*audience.customers.all()]) == ("Regulars", [customer])
    assert {row.account for row in (customer, event, order, audience)} == {account}


CHANGES: dict[str, tuple[dict[str, Any], list[tuple[str, str]], Callable[[], Any], Any]] = {
    "tag": (
        {**CUSTOMER, "tags": {"vip": 1, "visits": 2.5}},
        [("Customer", "updated")],
        lambda: type(Customer.objects.get().tags["vip"]),
        int,
    ),
    "event": ({**EVENT, "data": {"a": [1]}}, [("Event", "updated")], lambda: Event.objects.get().data, {"a": [1]}),
    "order": (
        {**ORDER, "status": "REVERSED"},
        [("Order", "updated")],
        lambda: bool(Order.objects.get().closed_at),
        True,
    ),
    "line": (
        {**ORDER, "lines": [LINE, {"sku": "bun", "value": 2}]},
        [("OrderLine", "updated")],
        lambda: OrderLine.objects.get(sku="bun").value,
        2,
    ),
    "lines": (
        {**ORDER, "lines": [{**LINE, "position": 7}, {"sku": "bun", "value": 1, "position": 2}]},
        [("OrderLine", "created"), ("OrderLine", "deleted")],
        lambda: [line.position for line in OrderLine.objects.all()],
        [2, 7],
    ),
    "left alone": (
        {"type": "customer", "external_id": "c1"},
        [],
        lambda: Customer.objects.get().email,
        CUSTOMER["email"],
    ),
    "leave": ({**AUDIENCE, "customers": []}, [("Membership", "deleted")], Membership.objects.count, 0),
}


@pytest.mark.parametrize("what", CHANGES)
def test_it_updates_only_what_differs(run_import: Import, changes: Recorder, what: str) -> None:
    record, told, stored, expected = CHANGES[what]
    run_import(*ALL)
    changes.clear()
    assert run_import(record)
    assert [change[:2] for change in changes.brief()] == told
    assert stored() == expected


def test_it_renames_an_audience_known_by_its_id(run_import: Import, changes: Recorder) -> None:
    run_import(CUSTOMER, {**AUDIENCE, "audience_id": "a1"})
    changes.clear()
    assert run_import({"type": "audience", "audience_id": "a1", "name": "Friends"})
    assert [(change.model, change.action, change.before) for change in changes.all] == [
        ("Audience", "updated", {"name": "Regulars"})
    ]
    assert Audience.objects.get().customers.count() == 1


BAD_LINES: list[tuple[Any, str]] = [
    ("{nonsense", "not JSON"),
    ("[1]", "not a JSON object"),
    ('{"type": "customer", "external_id": "x", "points": NaN}', "JSON has no NaN"),
    ('{"a":' * 50_000, "not JSON"),
    (b'{"type": "customer", "external_id": "\xff"}', "not UTF-8"),
    ({"type": "coupon"}, '"type" must be'),
    ({"type": "customer"}, "external_id: is missing"),
    ({"type": "customer", "external_id": ["x"]}, "external_id: must be a string"),
    ({"type": "customer", "external_id": "x" * 1025}, "external_id: Ensure this value has at most 1024"),
    ({"type": "customer", "external_id": "x\x00"}, "external_id:"),
    ('{"type": "customer", "external_id": "\\ud800"}', "external_id:"),
    ({"type": "customer", "external_id": "x", "e-mail": "a@b.co"}, "e-mail: no such field"),
    ({"type": "customer", "external_id": "x", "email": "nobody"}, "email: Enter a valid email"),
    ({"type": "customer", "external_id": "x", "email": "ana@example.com"}, "has this email address"),
    ({"type": "customer", "external_id": "x", "gender": "?"}, "gender:"),
    ({"type": "customer", "external_id": "x", "tags": {"a": {}}}, "tags: Tag"),
    ({"type": "customer", "external_id": "x", "birth_date": 5}, "birth_date: must be a string such as"),
    ({"type": "customer", "external_id": "x", "is_anonymous": 1}, "is_anonymous: must be true or false"),
    ({"type": "customer", "external_id": "x", "created_at": "0001-01-01T00:00:00+14:00"}, "created_at:"),
    ({"type": "customer", "external_id": "x", "points": True}, "points: must be a number"),
    ({**EVENT, "id": "7"}, "id:"),
    ({**EVENT, "customer": "nobody"}, "no such customer: nobody"),
    ({**EVENT, "event_type": None}, "event_type: is missing"),
    ({**ORDER, "status": "fulfilled"}, "status:"),
    ({**ORDER, "currency": "dollars"}, "currency:"),
    ({**ORDER, "customer": "nobody"}, "no such customer: nobody"),
    ({**ORDER, "lines": {}}, "lines: must be a list"),
    ({**ORDER, "lines": [{"sku": "s"}]}, "line 1 of the order: value: is missing"),
    ({**ORDER, "lines": [LINE, {**LINE, "quantity": 0}]}, "line 2 of the order: quantity:"),
    ({**ORDER, "lines": [{**LINE, "quantity": 1.5}]}, "quantity: must be a whole number"),
    ({**ORDER, "lines": [{**LINE, "value": 1.2345}]}, "value: Ensure that there are no more than 3 decimal"),
    ({**ORDER, "lines": [{**LINE, "position": 1}, {**LINE, "position": 1}]}, "same position"),
    ({"type": "audience", "name": "x" * 249}, "name:"),
    ({"type": "audience", "name": " "}, "name:"),
    ({**AUDIENCE, "customers": ["c1", "ghost"]}, "no such customers: ghost"),
    ({**AUDIENCE, "customers": ["hidden"]}, "Anonymous customers are never members"),
    ({**AUDIENCE, "customers": "c1"}, "customers: must be a list"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_it_reports_a_bad_line_and_goes_on(run_import: Import, line: Any, reason: str) -> None:
    hidden = {"type": "customer", "external_id": "hidden", "is_anonymous": True}
    assert not run_import(CUSTOMER, hidden, line, {"type": "customer", "external_id": "c3"}, "")
    assert len(run_import.errors) == 1
    assert run_import.errors[0].startswith("line 3: ")
    assert reason in run_import.errors[0]
    assert sorted(Customer.objects.values_list("external_id", flat=True)) == ["c1", "c3", "hidden"]
    assert not Order.objects.exists() and not Event.objects.exists() and not Audience.objects.exists()


@pytest.mark.parametrize(
    "line",
    [
        " 00004 0001 19970101  0   29.33",
        " 00004 0001 19971301  1   29.33",
        " 00004 0001 19970101  1   -9.33",
        " 00004 0001 19970101  1",
        " 00004 0001 19970101  1   29",
        " 00004 0001 19970101  1   29.3",
        " nobody 0001 19970101  1   29.33",
    ],
)
def test_it_reports_a_bad_cdnow_line(run_import: Import, line: str) -> None:
    assert not run_import(" 00021 0002 19970101  3   63.34", line, " 00021 0002 19970102  3   63.34")
    assert [error.split(":")[0] for error in run_import.errors] == ["line 2"]
    assert Order.objects.count() == 2


def test_it_reports_each_of_many_bad_lines_once(run_import: Import) -> None:
    lines: list[dict[str, Any]] = [{"type": "customer", "external_id": f"x{n}"} for n in range(50)]
    for n in (7, 8, 30):
        lines[n]["email"] = "ana@example.com"
    assert not run_import(CUSTOMER, *lines)
    assert [error.split(":")[0] for error in run_import.errors] == ["line 9", "line 10", "line 32"]
    assert Customer.objects.count() == 48


def test_it_needs_a_customer_on_an_earlier_line(run_import: Import) -> None:
    assert not run_import(EVENT, CUSTOMER)
    assert run_import.errors == ["line 1: no such customer: c1"]
    assert run_import(EVENT, CUSTOMER)


def test_it_leaves_other_accounts_alone(run_import: Import, other_account: Account) -> None:
    run_import(*ALL)
    assert run_import(CUSTOMER, ORDER, AUDIENCE, account="other")
    assert Customer.objects.count() == Order.objects.count() == Audience.objects.count() == 2
    assert not run_import(EVENT, account="other")
    assert f"event {EVENT_ID} belongs to another account" in run_import.errors[0]


def test_it_imports_in_batches(run_import: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_loyalty, "BATCH_RECORDS", 3)
    customers = [{"type": "customer", "external_id": f"x{n}"} for n in range(7)]
    assert run_import(*customers, {**AUDIENCE, "customers": ["x0", "x6"]})
    assert Customer.objects.count() == 7
    assert "customers: 7 created" in run_import.output
    assert Audience.objects.get().customers.count() == 2


def test_it_counts_a_customer_once_whose_orders_are_in_several_batches(
    run_import: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_loyalty, "BATCH_RECORDS", 1)
    lines = [f" {customer} 0001 199701{day:02}  1   29.33" for customer in ("00004", "00021") for day in (1, 2, 3)]
    assert run_import(*lines)
    assert "customers: 2 created, 0 changed, 0 unchanged" in run_import.output
    assert run_import(*lines)
    assert "customers: 0 created, 0 changed, 2 unchanged" in run_import.output


def test_it_counts_its_bad_lines_in_words(account: Account, tmp_path: Path) -> None:
    file = tmp_path / "records"
    for bad, words in ((1, "1 bad line was left out"), (2, "2 bad lines were left out")):
        file.write_text("\n".join([json.dumps(CUSTOMER), *["{"] * bad]))
        with pytest.raises(CommandError, match=words):
            call_command("import_loyalty", str(file), account="primavera", stderr=StringIO())


def test_it_names_an_account_or_a_file_that_is_not_there(run_import: Import, tmp_path: Path) -> None:
    assert not run_import(CUSTOMER, account="nobody")
    assert run_import(CUSTOMER, account="nobody", create_account="Nobody's")
    assert Customer.objects.get().account.name == "Nobody's"
    with pytest.raises(CommandError, match="No such file"):
        call_command("import_loyalty", str(tmp_path / "gone"), account="primavera")


@pytest.mark.parametrize(
    ("slug", "name", "reason"),
    [
        ("My Shop", "Mine", "“My Shop”: slug: Enter a valid “slug”"),
        ("", "Mine", "slug: This field cannot be blank"),
        ("s" * 101, "Mine", "slug: Ensure this value has at most 100 characters"),
        ("shop", "n" * 201, "name: Ensure this value has at most 200 characters"),
        ("shop", " ", "name: This field cannot be blank"),
    ],
)
def test_it_makes_no_account_that_no_page_could_show(account: Account, slug: str, name: str, reason: str) -> None:
    with pytest.raises(CommandError, match=re.escape(reason)):
        call_command("import_loyalty", str(CDNOW_SAMPLE), account=slug, create_account=name)
    assert list(Account.objects.all()) == [account]


def test_it_leaves_the_name_of_an_account_that_is_there(run_import: Import, account: Account) -> None:
    assert run_import(CUSTOMER, create_account="Another name")
    assert Account.objects.get().name == account.name


def test_it_takes_an_empty_file_and_a_byte_order_mark(run_import: Import) -> None:
    assert run_import("", "  ")
    assert run_import("\ufeff" + json.dumps(CUSTOMER))
    assert Customer.objects.count() == 1


def test_it_reads_the_format_it_is_told(run_import: Import) -> None:
    assert not run_import(CUSTOMER, format="cdnow")
    assert "not a CDNOW line" in run_import.errors[0]
