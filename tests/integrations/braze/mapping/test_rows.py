"""What the relay reads as plain rows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.braze.mapping.rows import CustomerName, EventRows, from_json


@given(st.integers(0, 40), st.integers(10**17, 10**24), st.sampled_from([1, -1]))
def test_a_number_is_read_to_its_last_digit_wherever_it_stands(spaces: int, number: int, sign: int) -> None:
    assert from_json(f'{" " * spaces}{{"n": {sign * number}}}') == {"n": sign * number}


@given(st.text(alphabet="0123456789 a", max_size=80))
def test_digits_in_texts_are_texts(text: str) -> None:
    assert from_json(json.dumps({text: text})) == {text: text}


def test_an_event_is_decoded_when_it_is_asked_for() -> None:
    ada = CustomerName("ada")
    events = EventRows(
        {
            "one": ("SEEN", "2026-11-01 10:00:00+00", '{"n": 1}', ada),
            "broken": ("SEEN", "2026-11-01 10:00:00+00", '{"n": ', ada),
        }
    )
    assert (len(events), list(events), "none" in events) == (2, ["one", "broken"], False)
    assert events["one"].data == {"n": 1}
    assert events["one"] is events.get("one")
    assert events.get("none") is None
    with pytest.raises(ValueError, match="unexpected end"):
        events["broken"]
