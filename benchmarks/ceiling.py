"""`python -m benchmarks.ceiling [--requests N] [--latency-ms MS]`: prebuilt requests, posted by the bare session.

As many at once as one account of ours has in flight. What is left out is everything that is ours: rows to objects,
the ledger, the buffer, the limiter, settlement.
"""

import argparse
import random
import time
from concurrent.futures import ThreadPoolExecutor

import requests

from benchmarks import report
from benchmarks.rig import rig


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    options = parser.parse_args()
    with rig(options.latency_ms) as running:
        report.show("ceiling", [run(running.sandbox.url, options.requests)])


def run(url: str, count: int) -> dict[str, object]:
    from integrations.braze.delivery import buffer

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
    from benchmarks.map import NOW, events
    from integrations.braze.mapping.events import event

    _, records = events(random.Random(1), 75)
    encoded = [event(record, NOW)[0] for record in records.events.values()]
    return b'{"events":[%b]}' % b",".join(encoded), 75


if __name__ == "__main__":
    main()
