"""What workload, faults and checks have to agree on."""

from typing import Any

#: What differs between the accounts; the rest is alike. Three of them share a key, and so a budget.
ACCOUNTS: list[dict[str, Any]] = [
    {"api_key": "key-0"},
    {"api_key": "key-0", "unknown_purchases": "resend"},
    {"api_key": "key-2", "unknown_events": "hold"},
    {"api_key": "key-3", "batch_limit": "combined"},
    {"api_key": "key-0", "attribute_gap_seconds": 0.0},
]
#: As the sandbox knows them, with their contracts.
KEYS = ("key-0", "key-2", "key-3:combined")
#: The account whose Events toggle is switched off and on.
FLIPPED = "shop-3"

#: Braze refuses whatever is about this customer, naming the objects.
BLACKLISTED = "shop-1-c0003"
#: Braze refuses any request that mentions this customer, as a whole.
POISON = "shop-2-c0003"
UNWELCOME = (BLACKLISTED, POISON)
POISON_FAULT = {"status": 400, "contains": POISON, "endpoint": "track"}

#: Where limits are tested: Braze's calls in 3 seconds, and what the accounts are told. The difference is for requests
#: that a busy machine delays on their way: then more of them arrive in 3 seconds than had slots in 3 seconds.
TRACK_LIMIT, CALLS_PER_WINDOW = 12, 9


def is_limited(seed: int) -> bool:
    """Odd seeds run under a tight limit: Braze must never have to answer 429. In even ones it does so on demand."""
    return seed % 2 == 1


def external_id(slug: str, number: int) -> str:
    """Of one length, so that none contains another."""
    return f"{slug}-c{number:04}"
