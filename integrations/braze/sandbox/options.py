"""How a sandbox is set up; the command line and the tests' fixture build the same object."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integrations.braze.sandbox.limits import Limit

TRACK_LIMIT = Limit(3_000, 3.0)
DELETE_LIMIT = Limit(20_000, 60.0)  # shared by the endpoints that identify and delete users
EXPORT_LIMIT = Limit(250, 60.0)


@dataclass(slots=True)
class Options:
    host: str = "127.0.0.1"
    port: int = 0
    keys: list[str] = field(default_factory=list)  # "KEY[:permission,…,contract]"; none: any key is accepted
    refused_keys: list[str] = field(default_factory=list)
    contract: str = "legacy"  # of keys that do not say: "legacy" (75 per array) or "combined" (75 in all)
    track_limit: Limit = TRACK_LIMIT
    delete_limit: Limit = DELETE_LIMIT
    export_limit: Limit = EXPORT_LIMIT
    hourly_limit: int = 0
    rate_headers: str = "epoch"
    error_style: str = "sentences"  # of errors[].type: "sentences" as live, or "codes" as documented
    keep_profiles: bool = True
    journal: bool = False
    delete_delay: float = 0.0
    read_lag: float = 0.0
    state_file: Path | None = None
    blocked_attributes: list[str] = field(default_factory=list)
    blocked_events: list[str] = field(default_factory=list)
    blocked_products: list[str] = field(default_factory=list)
    blacklisted_users: list[str] = field(default_factory=list)
    attribute_types: dict[str, str] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
