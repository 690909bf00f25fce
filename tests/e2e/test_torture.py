"""Nothing lost, nothing doubled, nothing out of order: a few seeds of the fault harness (`make torture` runs many)."""

from collections.abc import Iterator

import pytest

from dev.postgres import temporary_cluster
from tests.e2e.harness import torture

pytestmark = [pytest.mark.e2e, pytest.mark.postgres]


@pytest.fixture(scope="module", autouse=True)
def _server_of_its_own() -> Iterator[None]:
    """One of the faults crashes the whole server, which other tests are using at the same time."""
    with temporary_cluster() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        yield


# Odd seeds run under a tight rate limit, even ones see Braze answer 429.
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_keeps_every_promise_under_fire(seed: int) -> None:
    result = torture.run(seed, steps=250)
    print(result)
    assert result.broken == []
