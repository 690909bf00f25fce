"""Joins and leaves are told of once, from whichever side they are written."""

from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError

from masivo_braze.loyalty import querysets
from masivo_braze.loyalty.models import Account, Audience, Customer, Membership
from tests.loyalty.recorder import Recorder

Write = Callable[[Audience, list[Customer]], object]


@pytest.fixture
def audience(account: Account, customers: list[Customer]) -> Audience:
    """With c0 and c1 as members."""
    audience = Audience.objects.create(account=account, name="Regulars")
    audience.customers.add(*customers[:2])
    return audience


WRITES: dict[str, tuple[Write, set[str], set[str], str]] = {
    "audience.add": (lambda a, c: a.customers.add(c[1], c[2]), {"c2"}, set(), "bulk"),
    "audience.add by pk": (lambda a, c: a.customers.add(c[2].pk), {"c2"}, set(), "bulk"),
    "audience.remove": (lambda a, c: a.customers.remove(c[0], c[4]), set(), {"c0"}, "bulk"),
    "audience.set": (lambda a, c: a.customers.set([c[1], c[2]]), {"c2"}, {"c0"}, "bulk"),
    "audience.set clear": (lambda a, c: a.customers.set([c[2]], clear=True), {"c2"}, {"c0", "c1"}, "bulk"),
    "audience.clear": (lambda a, c: a.customers.clear(), set(), {"c0", "c1"}, "bulk"),
    "customer.add": (lambda a, c: c[2].audiences.add(a), {"c2"}, set(), "bulk"),
    "customer.remove": (lambda a, c: c[0].audiences.remove(a), set(), {"c0"}, "bulk"),
    "customer.set": (lambda a, c: c[0].audiences.set([]), set(), {"c0"}, "bulk"),
    "customer.set same": (lambda a, c: c[0].audiences.set([a]), set(), set(), "bulk"),
    "customer.clear": (lambda a, c: c[1].audiences.clear(), set(), {"c1"}, "bulk"),
    "through create": (lambda a, c: Membership.objects.create(audience=a, customer=c[3]), {"c3"}, set(), "row"),
    "through save": (lambda a, c: Membership(audience_id=a.pk, customer_id=c[3].pk).save(), {"c3"}, set(), "row"),
    "through delete": (lambda a, c: a.memberships.get(customer=c[0]).delete(), set(), {"c0"}, "row"),
    "through bulk_create": (
        lambda a, c: Membership.objects.bulk_create([Membership(audience=a, customer=x) for x in c]),
        {"c2", "c3", "c4"},
        set(),
        "bulk",
    ),
    "through filter.delete": (
        lambda a, c: Membership.objects.filter(customer__external_id="c1").delete(),
        set(),
        {"c1"},
        "bulk",
    ),
    "recalculate": (lambda a, c: a.recalculate(["c1", "c4"]), {"c4"}, {"c0"}, "bulk"),
    "recalculate same": (lambda a, c: a.recalculate(["c1", "c0", "c1"]), set(), set(), "bulk"),
    "recalculate none": (lambda a, c: a.recalculate([]), set(), {"c0", "c1"}, "bulk"),
}


@pytest.mark.parametrize("how", WRITES)
def test_it_tells_of_each_join_and_leave_once(
    audience: Audience, customers: list[Customer], changes: Recorder, how: str
) -> None:
    write, joined, left, via = WRITES[how]
    write(audience, customers)
    told = sorted((change.model, change.action, change.row.customer.external_id) for change in changes.all)
    assert told == sorted(
        [("Membership", "created", name) for name in joined] + [("Membership", "deleted", name) for name in left]
    )
    assert {change.via for change in changes.all} <= {via}
    members = {customer.external_id for customer in audience.customers.all()}
    assert members == ({"c0", "c1"} | joined) - left


def test_it_tells_of_those_who_left_audience_by_audience(
    audience: Audience, customers: list[Customer], changes: Recorder
) -> None:
    other = Audience.objects.create(account=audience.account, name="Others")
    other.customers.add(*customers[1:3])
    changes.clear()
    Membership.objects.filter(customer__in=customers[:2]).delete()
    told = sorted((change.row.audience.name, change.row.customer.external_id) for change in changes.all)
    assert told == [("Others", "c1"), ("Regulars", "c0"), ("Regulars", "c1")]
    assert changes.chunk_sizes == [2, 1]


@pytest.mark.parametrize("delete", [lambda a: a.delete(), lambda a: Audience.objects.filter(pk=a.pk).delete()])
def test_it_empties_an_audience_before_it_goes(
    audience: Audience, changes: Recorder, delete: Callable[[Audience], tuple[int, dict[str, int]]]
) -> None:
    pk = audience.pk
    assert delete(audience) == (3, {"loyalty.Audience": 1, "loyalty.Membership": 2})
    assert [(change.model, change.action, change.via) for change in changes.all] == [
        ("Membership", "deleted", "bulk"),
        ("Membership", "deleted", "bulk"),
        ("Audience", "deleted", "row"),
    ]
    assert changes.all[2].pk == pk
    assert not Membership.objects.exists()


def test_it_tells_of_memberships_that_go_with_their_customer(
    audience: Audience, customers: list[Customer], changes: Recorder
) -> None:
    membership, customer = audience.memberships.get(customer=customers[0]).pk, customers[0].pk
    customers[0].delete()
    assert changes.brief() == [("Customer", "deleted", customer), ("Membership", "deleted", membership)]


def test_it_reports_what_recalculate_did(audience: Audience, other_account: Account) -> None:
    Customer.objects.create(account=other_account, external_id="theirs")
    result = audience.recalculate(["c1", "c2", "c3", "theirs", "ghost"])
    assert (result.joined, result.left, result.unknown) == (2, 1, ("ghost", "theirs"))
    with pytest.raises(TypeError):
        audience.recalculate("c1")


def test_it_takes_few_queries_to_recalculate(audience: Audience, django_assert_max_num_queries) -> None:
    Customer.objects.bulk_create(Customer(account=audience.account, external_id=f"m{n}") for n in range(1_000))
    with django_assert_max_num_queries(30):
        audience.recalculate(f"m{n}" for n in range(1_000))
    with django_assert_max_num_queries(30):
        audience.recalculate(["c0", *(f"m{n}" for n in range(1_000))])
        audience.recalculate(f"m{n}" for n in range(1_000))
    assert audience.customers.count() == 1_000


@pytest.mark.parametrize(
    "join",
    [
        lambda a, c: a.customers.add(c),
        lambda a, c: c.audiences.add(a),
        lambda a, c: a.recalculate(["c0", c.external_id]),
        lambda a, c: Membership.objects.create(audience=a, customer=c),
        lambda a, c: Membership.objects.bulk_create([Membership(audience=a, customer=c)]),
        lambda a, c: Membership(audience=a, customer=c).full_clean(),
    ],
)
@pytest.mark.parametrize("who", ["anonymous", "stranger"])
@pytest.mark.django_db(transaction=True)
def test_it_refuses_anonymous_customers_and_strangers(
    audience: Audience,
    other_account: Account,
    changes: Recorder,
    join: Callable[[Audience, Customer], object],
    who: str,
) -> None:
    home = audience.account if who == "anonymous" else other_account
    outsider = Customer.objects.create(account=home, external_id="x", is_anonymous=who == "anonymous")
    try:
        result = join(audience, outsider)
    except ValidationError as error:
        assert ("Anonymous" if who == "anonymous" else "another account") in str(error)
    else:
        assert getattr(result, "unknown", None) == ("x",) and who == "stranger"  # to recalculate, an unknown id
    assert not outsider.audiences.exists()
    assert audience.customers.filter(external_id="c0").exists()


def test_it_refuses_to_make_a_member_anonymous(audience: Audience, customers: list[Customer]) -> None:
    customers[0].is_anonymous = True
    with pytest.raises(ValidationError, match="never members"):
        customers[0].save()
    with pytest.raises(ValidationError, match="never members"):
        Customer.objects.update(is_anonymous=True)
    customers[4].is_anonymous = True
    customers[4].save()
    assert list(Customer.objects.filter(is_anonymous=True)) == [customers[4]]


def test_it_refuses_to_move_a_membership(audience: Audience, customers: list[Customer]) -> None:
    membership = audience.memberships.get(customer=customers[0])
    membership.customer = customers[3]
    with pytest.raises(ValidationError, match="cannot change"):
        membership.save()
    with pytest.raises(ValidationError, match="cannot change"):
        Membership.objects.filter(pk=membership.pk).update(customer=customers[3])


def test_what_is_removed_first_does_not_decide_what_else_is(
    account: Account, customers: list[Customer], changes: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querysets.chunked, "__defaults__", (2,))
    for number in range(5):
        Audience.objects.create(account=account, name=str(number)).customers.add(customers[0])
    Membership.objects.filter(customer__audiences__name="0").delete()
    assert not Membership.objects.exists()
