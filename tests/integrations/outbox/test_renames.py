"""An audience's rename is captured for its own members, where its stored name has changed, and nowhere else."""

from collections.abc import Callable

import pytest

from integrations.outbox.models import Topic
from masivo_braze.loyalty.models import Account, Audience, Customer

Captured = Callable[[], list[tuple[str, str]]]
Want = Callable[..., None]


@pytest.fixture
def audiences(account: Account, want: Want, captured: Captured) -> list[Audience]:
    """Two, with a member each; that they joined is not among what is `captured` from here on."""
    want(Topic.AUDIENCES)
    made = [Audience.objects.create(account=account, name=name) for name in ("Club", "Guests")]
    for number, audience in enumerate(made):
        audience.customers.add(Customer.objects.create(account=account, external_id=f"c{number}"))
    captured()
    return made


def test_one_that_is_written_without_its_name_is_not_renamed(audiences: list[Audience], captured: Captured) -> None:
    club, _ = audiences
    club.name, club.audience_id = "Circle", "a2"
    club.save(update_fields=["audience_id"])
    assert captured() == []
    club.save(update_fields=["name"])
    assert captured() == [("audience_renamed", "c0")]


def test_one_that_is_written_with_the_same_name_is_not_renamed(audiences: list[Audience], captured: Captured) -> None:
    club, guests = audiences
    Audience.objects.filter(pk=club.pk).update(audience_id="a2")
    assert captured() == []
    guests.name = "Visitors"
    Audience.objects.bulk_update([club, guests], ["name"])
    assert captured() == [("audience_renamed", "c1")]
