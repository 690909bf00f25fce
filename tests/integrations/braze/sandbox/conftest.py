import pytest

from tests.integrations.braze.sandbox.client import Braze


@pytest.fixture
def braze() -> Braze:
    return Braze()
