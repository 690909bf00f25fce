"""Workers keep what they have loaded out of the garbage collector's rounds."""

import gc
from collections.abc import Iterator

import pytest
from celery.signals import worker_process_init, worker_ready
from celery.utils.dispatch import Signal

import masivo_braze.celery  # noqa: F401  # connects it


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("signal", [worker_process_init, worker_ready])
def test_a_worker_that_has_started_freezes_what_it_has_loaded(signal: Signal) -> None:
    kept = object.__new__(type("Kept", (), {}))
    signal.send(sender=None)
    assert gc.get_freeze_count() > 10_000
    assert all(kept is not each for each in gc.get_objects())
