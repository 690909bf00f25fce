"""`python -m benchmarks.naive [--changes N]`: the ordinary design, written fairly, for comparison.

A save, an `on_commit`, a Celery task per change, a request per task over a pooled session: no outbox, no batching, no
ledger, no limits. The workers are Celery's, with the threads of our own flush.
"""

import argparse
import os
import subprocess
import time

import orjson

from benchmarks import report
from benchmarks.rig import Rig, rig

WORKER = "celery -A benchmarks.naive_app worker --pool threads --concurrency 64 -Q naive -l WARNING --without-gossip"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--changes", type=int, default=2_000)
    options = parser.parse_args()
    with rig() as running:
        report.show("naive", [run(running, options.changes)])


def run(running: Rig, changes: int) -> dict[str, object]:
    """Changes are published first; the clock runs from the start of the work to the last answer."""
    from benchmarks import naive_app, shop

    account = shop.account("naive", running.sandbox.url, is_enabled=False)
    people = shop.customers(account, 500)
    shop.events(account, people, changes)
    from masivo_braze.loyalty.models import Event

    for pk in Event.objects.values_list("pk", flat=True):
        naive_app.send_event.apply_async((str(pk), running.sandbox.url), queue="naive")
    os.environ["PATH"] = running.env["PATH"]
    worker = subprocess.Popen(WORKER.split(), env=running.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while _taken(running) == 0:
            time.sleep(0.005)
        begun = time.perf_counter()
        while _taken(running) < changes:
            time.sleep(0.01)
        seconds = time.perf_counter() - begun
    finally:
        worker.terminate()
        worker.wait()
    return {
        "changes": changes,
        "requests": changes,
        "seconds": round(seconds, 2),
        "changes/s": round(changes / seconds),
    }


def _taken(running: Rig) -> int:
    import requests

    taken: int = orjson.loads(requests.get(running.sandbox.url, timeout=5).content)["requests"]
    return taken


if __name__ == "__main__":
    main()
