"""Joining and leaving, renaming and deleting an audience: an entry for each member, whichever way it is written."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models.signals import post_init

from integrations.outbox.models import OutboxEntry, Topic
from masivo_braze.loyalty.models import Account, Audience, Customer, Membership

Captured = Callable[[], list[tuple[str, str]]]
Want = Callable[..., None]


def two_customers(account: Account) -> list[Customer]:
    return [Customer.objects.create(account=account, external_id=name) for name in ("c1", "c2")]


def test_it_captures_membership_from_both_sides_and_through_the_model(
    account: Account, want: Want, captured: Captured
) -> None:
    want(Topic.AUDIENCES)
    one, two = two_customers(account)
    club = Audience.objects.create(account=account, name="Club")
    joined, left = ("audience_joined", "c1"), ("audience_left", "c1")
    club.customers.add(one)
    assert captured() == [joined]
    club.customers.add(one)
    assert captured() == []
    club.customers.remove(one)
    assert captured() == [left]
    one.audiences.add(club)
    assert captured() == [joined]
    one.audiences.clear()
    assert captured() == [left]
    club.customers.set([one, two])
    assert sorted(captured()) == [joined, ("audience_joined", "c2")]
    club.customers.set([two])
    assert captured() == [left]
    membership = Membership.objects.create(audience=club, customer=one)
    assert captured() == [joined]
    membership.delete()
    assert captured() == [left]
    club.recalculate(["c1"])
    assert sorted(captured()) == [joined, ("audience_left", "c2")]


def test_it_captures_a_rename_for_every_member(account: Account, want: Want, captured: Captured) -> None:
    want(Topic.AUDIENCES)
    club = Audience.objects.create(account=account, name="Club", audience_id="a1")
    club.customers.add(*two_customers(account))
    captured()
    club.name = "Circle"
    club.save()
    assert sorted(captured()) == [("audience_renamed", "c1"), ("audience_renamed", "c2")]
    assert OutboxEntry.objects.latest("pk").data == {"audience_id": "a1", "name": "Circle", "old_name": "Club"}
    club.save()
    assert captured() == []
    Audience.objects.filter(pk=club.pk).update(name="Ring")
    assert OutboxEntry.objects.latest("pk").data == {"audience_id": "a1", "name": "Ring", "old_name": "Circle"}


@pytest.mark.parametrize("delete", [lambda club: club.delete(), lambda club: Audience.objects.all().delete()])
def test_it_captures_the_members_of_a_deleted_audience(
    account: Account, want: Want, captured: Captured, delete: Callable[[Audience], object]
) -> None:
    want(Topic.AUDIENCES)
    club = Audience.objects.create(account=account, name="Club", audience_id="a1")
    club.customers.add(*two_customers(account))
    captured()
    delete(club)
    assert sorted(captured()) == [("audience_left", "c1"), ("audience_left", "c2")]
    assert OutboxEntry.objects.latest("pk").data == {"audience_id": "a1", "name": "Club"}


def test_it_loads_no_member_of_a_renamed_or_deleted_audience(
    account: Account, want: Want, captured: Captured, django_assert_max_num_queries: Any
) -> None:
    """There may be a million of them."""
    want(Topic.AUDIENCES)
    club = Audience.objects.create(account=account, name="Club", audience_id="a1")
    club.customers.set(Customer.objects.bulk_create(Customer(account=account, external_id=f"m{n}") for n in range(500)))
    captured()
    loaded: list[type] = []

    def note(sender: type, **_: Any) -> None:
        loaded.append(sender)

    post_init.connect(note)
    try:
        with django_assert_max_num_queries(30):
            club.name = "Circle"
            club.save()
            Audience.objects.filter(pk=club.pk).update(name="Ring")
            Audience.objects.all().delete()
    finally:
        post_init.disconnect(note)
    assert loaded and {Customer, Membership}.isdisjoint(loaded)
    assert Counter(kind for kind, _ in captured()) == {"audience_renamed": 1_000, "audience_left": 500}
