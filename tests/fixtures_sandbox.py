"""The `sandbox` fixture: a fresh stand-in for Braze per test, on a free port of its own."""

from collections.abc import Iterator

import pytest

from integrations.braze.sandbox import SandboxServer


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """`sandbox.url`, `.summary()`, `.profile(id)`, `.requests()`, `.journal()`, `.faults`, `.call(function)`."""
    with SandboxServer(journal=True) as server:
        yield server
