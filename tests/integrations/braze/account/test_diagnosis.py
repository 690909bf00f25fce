"""Testing a connection: what was found, in words, with nothing created in Braze and no host asked but allowed ones."""

from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from django.urls import reverse

from dev.ports import free_port
from integrations.braze.account import diagnosis
from integrations.braze.delivery import client
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from masivo_braze.loyalty.models import Account

KEY = "9c1d4f7e-0000-4000-8000-5b6c7d8ea1b2"

Workspace = Callable[..., SandboxServer]


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    """Starts sandboxes that know one key, with some permissions."""
    servers: list[SandboxServer] = []

    def start(key: str = f"{KEY}:users.track,users.delete,users.export.ids") -> SandboxServer:
        server = SandboxServer(journal=True, keys=[key])
        servers.append(server)
        server.__enter__()
        return server

    yield start
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def connect(account: Account, settings, redis_client) -> Callable[..., BrazeSettings]:
    """Settings with the key, at the first of some sandboxes; all of them are allowed."""

    def saved(*urls: str, key: str = KEY) -> BrazeSettings:
        settings.BRAZE_EXTRA_ENDPOINTS = list(urls)
        return BrazeSettings.objects.create(account=account, api_key=key, rest_endpoint=urls[0])

    return saved


def found(settings: BrazeSettings) -> list[tuple[str, str]]:
    findings = [(finding.level, finding.words) for finding in diagnosis.diagnose(settings)]
    assert settings.api_key not in str(findings)
    return findings


def test_it_says_that_all_is_well_and_creates_nothing(workspace: Workspace, connect) -> None:
    sandbox = workspace()
    ((level, words),) = found(connect(sandbox.url))
    assert level == "success"
    assert words.startswith(f"Connected to {sandbox.url}. The key is valid and may send customers, tags, events")
    assert sandbox.summary()["profiles"] == 0
    assert [request["counts"] for request in sandbox.requests()] != []


@pytest.mark.parametrize(
    ("lacking", "may_not"),
    [
        ("users.track", "send customers, tags, events, purchases and audiences"),
        ("users.delete", "delete customers"),
        ("users.export.ids", "ask Braze what it holds"),
    ],
)
def test_it_names_a_missing_permission(workspace: Workspace, connect, lacking: str, may_not: str) -> None:
    others = {"users.track", "users.delete", "users.export.ids"} - {lacking}
    settings = connect(workspace(f"{KEY}:{','.join(sorted(others))}").url)
    errors = [words for level, words in found(settings) if level == "error"]
    assert len(errors) == 1
    assert errors[0].startswith(f"Missing permission {lacking}: the key may not {may_not}.")
    assert found(settings)[0] == ("success", f"The key is valid at {settings.rest_endpoint}.")


def test_it_says_that_the_key_is_wrong(workspace: Workspace, connect) -> None:
    ((level, words),) = found(connect(workspace().url, workspace().url, key="a-key-that-nobody-knows"))
    assert level == "error"
    assert words.startswith("Wrong key:")


def test_it_finds_the_instance_that_knows_the_key(workspace: Workspace, connect) -> None:
    wrong, right = workspace("another-key-0123456789"), workspace()
    ((level, words),) = found(connect(wrong.url, right.url))
    assert level == "error"
    assert words == f"The key is right, but the instance is not: {right.url} knows it, and {wrong.url} does not."


def test_it_asks_no_host_that_is_not_allowed(workspace: Workspace, connect, settings, account: Account) -> None:
    right = workspace()
    saved = connect(workspace("another-key-0123456789").url)
    assert found(saved)[0][1].startswith("Wrong key")
    assert right.requests() == []
    settings.BRAZE_EXTRA_ENDPOINTS = []
    ((_, words),) = found(saved)
    assert words.startswith("Nothing was tried: “127.0.0.1” is not a Braze REST host")


def test_it_says_that_the_host_is_unreachable(connect) -> None:
    ((level, words),) = found(connect(f"http://127.0.0.1:{free_port()}"))
    assert level == "error"
    assert "cannot be reached" in words


def test_it_says_that_time_is_up(workspace: Workspace, connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "TOTAL_SECONDS", 0.3)
    sandbox = workspace()
    sandbox.faults.add(hang="before")
    ((level, words),) = found(connect(sandbox.url))
    assert level == "error"
    assert words.startswith("Time-out:")


@pytest.mark.parametrize(
    ("status", "words"),
    [(429, "limit of requests is used up"), (404, "not as Braze's REST API does"), (503, "Braze answered 503")],
)
def test_it_says_what_else_was_answered(workspace: Workspace, connect, status: int, words: str) -> None:
    sandbox = workspace()
    sandbox.faults.add(status=status)
    assert words in found(connect(sandbox.url))[0][1]


def test_it_shows_no_part_of_a_key_that_is_repeated_where_words_are_cut(workspace: Workspace, connect) -> None:
    sandbox = workspace()
    sandbox.faults.add(status=503, html=False, message=f"{'x' * 195} {KEY}")
    assert [words[-6:] for _, words in found(connect(sandbox.url))] == ["x [key"] * 3


@pytest.mark.parametrize(
    ("missing", "words"), [({"api_key": ""}, "No API key yet."), ({"rest_endpoint": ""}, "No REST endpoint yet.")]
)
def test_it_tries_nothing_without_key_and_endpoint(workspace: Workspace, connect, missing, words: str) -> None:
    sandbox = workspace()
    settings = connect(sandbox.url)
    for name, value in missing.items():
        setattr(settings, name, value)
    assert diagnosis.diagnose(settings) == [diagnosis.Finding("error", f"Nothing was tried: {words}")]
    assert sandbox.requests() == []


def test_it_keeps_within_the_hourly_cap_whose_count_redis_may_have_lost(workspace: Workspace, connect) -> None:
    sandbox = workspace()
    settings = connect(sandbox.url)
    BrazeSettings.objects.update(calls_per_hour=1)
    Delivery.objects.create(account=settings.account, endpoint="track", started_at=database_now())
    assert "limit of requests to Braze is used up" in found(BrazeSettings.objects.get())[0][1]
    assert sandbox.requests() == []


def test_it_keeps_within_the_limit(workspace: Workspace, connect) -> None:
    sandbox = workspace()
    settings = connect(sandbox.url)
    settings.calls_per_window, settings.window_seconds = 1, 60
    assert "limit of requests to Braze is used up" in found(settings)[0][1]
    assert sandbox.requests() == []


def test_the_page_tests_what_it_has_just_saved(workspace: Workspace, connect, admin_client: Client) -> None:
    sandbox = workspace()
    settings = connect(sandbox.url, key="")
    url = reverse("admin:braze_brazesettings_change", args=[settings.pk])
    limits = {"batch_limit": "per_array", "calls_per_window": 3000, "window_seconds": 3, "unknown_events": "resend"}
    limits |= {"attribute_gap_seconds": 2}
    form = {"api_key": KEY, "instance_choice": sandbox.url, "unknown_purchases": "hold", **limits, "_test": "1"}
    page = admin_client.post(url, form, follow=True).content.decode()
    assert f"Connected to {sandbox.url}" in page
    assert KEY not in page
    assert client.TOTAL_SECONDS > diagnosis.TOTAL_SECONDS
    assert "Tested the connection." in admin_client.get(url.replace("change", "history")).content.decode()
