"""`python -m benchmarks.ceiling [--requests N]`: prebuilt requests, posted by the bare `requests` session.

As many at once as one account of ours has in flight. What is left out is everything that is ours: rows to objects,
the ledger, the buffer, the limiter, settlement.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import orjson
import requests

from benchmarks import report
from benchmarks.rig import rig


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=2_000)
    options = parser.parse_args()
    with rig() as running:
        report.show("ceiling", [run(running.sandbox.url, options.requests)])


def run(url: str, count: int) -> dict[str, object]:
    from integrations.braze import buffer

    body, objects = prebuilt()
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=buffer.IN_FLIGHT))
    headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}

    def post(_: int) -> int:
        return session.post(f"{url}/users/track", data=body, headers=headers, timeout=30).status_code

    begun = time.perf_counter()
    with ThreadPoolExecutor(buffer.IN_FLIGHT) as pool:
        statuses = set(pool.map(post, range(count)))
    seconds = time.perf_counter() - begun
    if statuses != {201}:
        raise SystemExit(f"the sink answered {statuses}")
    return {
        "requests": count, "objects": count * objects, "bytes a request": len(body), "seconds": round(seconds, 2),
        "requests/s": round(count / seconds), "objects/s": round(count * objects / seconds),
    }  # fmt: skip


def prebuilt() -> tuple[bytes, int]:
    """A full request of events such as `shop.events` makes, as the mapping would send them."""
    from benchmarks.map import events_in_memory
    from integrations.braze.mapping import events

    records, now = events_in_memory(75)
    return orjson.dumps({"events": [events.event(record, now).body for record in records]}), 75


if __name__ == "__main__":
    main()
