"""Only what changed is sent, and the mirror moves with Braze's answers."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.braze import mirror
from integrations.braze.models import BrazeProfile
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import Sync

#: All different to Braze, though Python holds some of them equal.
DIFFERENT = [None, "", False, 0, "0", 1, 1.0, True, "True"]

VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.text(max_size=2)
ATTRIBUTES = st.dictionaries(st.sampled_from("abcdef"), VALUES)


def typed(value: Any) -> tuple[type, Any]:
    return type(value), value


def profile(attributes: dict[str, Any] | None = None, uncertain: list[str] | None = None) -> BrazeProfile:
    return BrazeProfile(external_id="Ada", attributes=attributes or {}, uncertain=uncertain or [])


@pytest.mark.parametrize(("held", "wanted"), list(product(DIFFERENT, repeat=2)))
def test_it_compares_values_with_their_types(held: Any, wanted: Any) -> None:
    mirrored = profile({} if held is None else {"a": held})
    is_same = type(held) is type(wanted) and held == wanted
    assert mirror.delta(mirrored, {"a": wanted}) == ({} if is_same else {"a": wanted})


def test_it_sends_everything_but_nulls_to_a_user_it_knows_nothing_of() -> None:
    assert mirror.delta(None, {"a": 1, "b": None, "c": ""}) == {"a": 1, "c": ""}


def test_it_nulls_removed_names_even_if_the_mirror_knows_nothing_of_them() -> None:
    assert mirror.delta(None, {}, ["a"]) == {"a": None}
    assert mirror.delta(profile({"a": 1}), {"b": 2}, {"a"}) == {"a": None, "b": 2}


def test_it_does_not_null_a_removed_name_that_is_wanted_again() -> None:
    assert mirror.delta(profile({"a": True}), {"a": True}, ["a"]) == {}
    assert mirror.delta(profile(), {"a": True}, ["a"]) == {"a": True}


@pytest.mark.parametrize("wanted", DIFFERENT)
def test_it_holds_what_is_uncertain_for_different_from_everything(wanted: Any) -> None:
    held = {} if wanted is None else {"a": wanted}
    assert mirror.delta(profile(held), {"a": wanted}) == {}
    assert mirror.delta(profile(held, uncertain=["a"]), {"a": wanted}) == {"a": wanted}


def test_it_leaves_alone_what_nobody_asked_about() -> None:
    assert mirror.delta(profile({"a": 1}, uncertain=["b"]), {"c": None}) == {}


@given(ATTRIBUTES, ATTRIBUTES)
def test_it_has_nothing_to_send_once_a_delta_was_accepted(before: dict[str, Any], wanted: dict[str, Any]) -> None:
    mirrored = profile({name: value for name, value in before.items() if value is not None})
    sent = mirror.delta(mirrored, wanted)
    mirror.accept(mirrored, sent)
    assert mirror.delta(mirrored, wanted) == {}
    assert None not in mirrored.attributes.values()


@given(ATTRIBUTES, ATTRIBUTES)
def test_it_sends_again_exactly_what_is_in_doubt(before: dict[str, Any], wanted: dict[str, Any]) -> None:
    mirrored = profile({name: value for name, value in before.items() if value is not None})
    sent = mirror.delta(mirrored, wanted)
    mirror.doubt(mirrored, sent)
    again = mirror.delta(mirrored, wanted)
    assert {name: (type(value), value) for name, value in again.items()} == {
        name: (type(value), value) for name, value in sent.items()
    }


@given(ATTRIBUTES, ATTRIBUTES, ATTRIBUTES, st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_it_sends_a_name_exactly_where_a_reason_for_it_is_there(
    held: dict[str, Any], wanted: dict[str, Any], refused: dict[str, Any], removed: set[str], doubted: set[str]
) -> None:
    held = {name: value for name, value in held.items() if value is not None}
    mirrored = profile(held, sorted(doubted))
    mirrored.refused = refused
    sent = mirror.delta(mirrored, wanted, removed)
    for name in "abcdef":
        value = wanted.get(name)
        is_wanted = name in wanted or name in removed
        is_new = typed(held.get(name)) != typed(value) or name in doubted or (name in removed and value is None)
        was_refused = name in refused and typed(refused[name]) == typed(value)
        assert (name in sent) is (is_wanted and is_new and not was_refused)
        assert typed(sent.get(name)) == typed(value if name in sent else None)


def test_it_forgets_a_name_whose_null_was_accepted() -> None:
    mirrored = profile({"a": 1, "b": 2}, uncertain=["a", "c"])
    mirror.accept(mirrored, {"a": None})
    assert (mirrored.attributes, mirrored.uncertain) == ({"b": 2}, ["c"])


def test_it_doubts_no_other_names_and_each_once() -> None:
    mirrored = profile({"a": 1}, uncertain=["b"])
    mirror.doubt(mirrored, ["a", "b"])
    assert (mirrored.attributes, mirrored.uncertain) == ({"a": 1}, ["a", "b"])


def test_it_shares_nothing_with_what_it_was_given() -> None:
    attributes = {"a": 1}
    mirrored = profile(attributes)
    mirror.accept(mirrored, {"b": 2})
    assert attributes == {"a": 1}


def test_it_remembers_all_that_was_sent_of_late() -> None:
    one = profile()
    mirror.touch(one, ["email"], 1_000.0)
    mirror.touch(one, ["phone"], 1_001.0)
    assert one.recent == {"email": 1_000.0, "phone": 1_001.0}
    mirror.touch(one, ["phone"], 1_000.0 + mirror.RECENT_SECONDS)
    assert one.recent == {"phone": 1_000.0 + mirror.RECENT_SECONDS}


def test_an_unknown_deletion_leaves_nothing_certain_in_the_mirror(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = 0
    sync()
    one.delete()
    sandbox.faults.add(endpoint="delete", close="after", times=1)
    sync()
    profile = BrazeProfile.objects.get()
    assert set(profile.uncertain) == set(profile.attributes) != set()
    assert not profile.is_known
