"""Which addresses a key may be sent to, and what an operator is told about the others."""

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from integrations.braze.models.endpoints import hint, is_real_host, normalised

#: Braze's documented instances [Braze: API overview], and US-09, which other vendors list.
DOCUMENTED = [
    *(f"rest.iad-{number:02}.braze.com" for number in range(1, 9)),
    "rest.us-09.braze.com",
    "rest.us-10.braze.com",
    "rest.fra-01.braze.eu",
    "rest.fra-02.braze.eu",
    "rest.au-01.braze.com",
    "rest.id-01.braze.com",
    "rest.jp-01.braze.com",
    "rest.kr-01.braze.com",
]


def why(url: str) -> str:
    with pytest.raises(ValidationError) as caught:
        normalised(url)
    return caught.value.messages[0]


@pytest.mark.parametrize("host", DOCUMENTED)
def test_it_accepts_each_documented_instance(host: str) -> None:
    assert normalised(f"https://{host}") == f"https://{host}"


@pytest.mark.parametrize(
    "typed",
    [
        "rest.iad-01.braze.com",
        "  https://rest.iad-01.braze.com/ \n",
        "https://REST.IAD-01.Braze.com",
        "https://rest.iad-01.braze.com:443/users/track?x=1#y",
        "https://me:secret@rest.iad-01.braze.com//",
    ],
)
def test_it_keeps_scheme_and_host_alone(typed: str) -> None:
    assert normalised(typed) == "https://rest.iad-01.braze.com"


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("https://dashboard-01.braze.com", "dashboard"),
        ("https://sdk.iad-01.braze.com", "SDK"),
        ("https://example.com", "“example.com” is not a Braze REST host"),
        ("https://rest.iad-01.braze.com.example.com", "not a Braze REST host"),
        ("https://rest.iad-01.braze.com@example.com", "“example.com” is not a Braze REST host"),
        ("https://rest.iad-01.braze.com\\@example.com", "not a Braze REST host"),
        ("https://example.com/rest.iad-01.braze.com", "“example.com” is not a Braze REST host"),
        ("https://rest.iad-01.braze.org", "not a Braze REST host"),
        ("https://rest.iad-٠١.braze.com", "not a Braze REST host"),
        ("https://xrest.iad-01.braze.com", "not a Braze REST host"),
        ("https://127.0.0.1:8077", "not a Braze REST host"),
        ("https://[", "not an address"),
        ("https://rest.iad-01.braze.com:port", "not an address"),
        ("9c1d4f7e-not-an-address", "not a Braze REST host"),
    ],
)
def test_it_says_what_is_wrong_and_where_to_find_the_right_one(typed: str, word: str) -> None:
    assert word in why(typed)
    assert "Settings → APIs and Identifiers" in why(typed)


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_it_insists_on_https(scheme: str) -> None:
    assert "https://rest.iad-01.braze.com" in why(f"{scheme}://rest.iad-01.braze.com")


def test_it_accepts_what_the_deployment_adds_and_only_that(settings) -> None:
    settings.BRAZE_EXTRA_ENDPOINTS = [" http://127.0.0.1:8077/ "]
    assert normalised("http://127.0.0.1:8077/") == "http://127.0.0.1:8077"
    assert not is_real_host("http://127.0.0.1:8077")
    assert "not a Braze REST host" in why("http://127.0.0.1:8078")
    assert is_real_host("https://rest.iad-01.braze.com")


def test_it_hints_that_the_fra_hosts_are_under_eu() -> None:
    assert normalised("https://rest.fra-01.braze.com") == "https://rest.fra-01.braze.com"
    assert "https://rest.fra-01.braze.eu" in hint("https://rest.fra-01.braze.com")


@pytest.mark.parametrize("url", ["https://rest.fra-01.braze.eu", "https://rest.iad-01.braze.com", ""])
def test_it_has_no_hint_for_the_others(url: str) -> None:
    assert hint(url) == ""


@given(st.text(max_size=60) | st.from_regex(r"\A(https?://)?[a-z.@:/\\\[\]\-0-9]{0,40}braze\.com[/:?#@]*\Z"))
def test_it_never_fails_in_another_way_and_lets_nothing_but_a_rest_host_through(typed: str) -> None:
    try:
        url = normalised(typed)
    except ValidationError:
        return
    assert url.startswith("https://rest.")
    assert url.endswith((".braze.com", ".braze.eu"))
    assert normalised(url) == url
