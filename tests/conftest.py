"""Fixtures for all tests, and the rule that nothing is skipped in CI."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
from django.conf import settings
from django.db import connection

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("any machine", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("any machine")

if (Path(__file__).parent / "fixtures_sandbox.py").exists():
    pytest_plugins = ["tests.fixtures_sandbox"]


@pytest.fixture
def redis_client() -> Iterator["redis.Redis"]:
    """A client of the session's real Redis, its database empty before and after the test."""
    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if connection.vendor == "postgresql":
        return
    for item in items:
        if item.get_closest_marker("postgres"):
            item.add_marker(pytest.mark.skip(reason="needs PostgreSQL: run `make test-all`"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a promise that nobody checked."""
    if _skipped_in_ci(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if skipped := _skipped_in_ci(terminalreporter.config):
        terminalreporter.write_line(f"CI is set, so {skipped} skipped test(s) count as failed.", red=True)


def _skipped_in_ci(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI", "").lower() in ("", "0", "false") or reporter is None:
        return 0
    return len(reporter.stats.get("skipped", []))
