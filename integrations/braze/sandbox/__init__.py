"""A stand-in for Braze's user-data API: strict where Braze is strict, silent where it is silent, and observable.

Written from Braze's documentation and recorded answers, never from this project's client; it imports nothing of it.
Numbers in brackets, here and below, are those of the rules in docs/sandbox.md. Start it with
`manage.py braze_sandbox`, or in a test with `SandboxServer`.
"""

from integrations.braze.sandbox.limits import Limit
from integrations.braze.sandbox.options import Options
from integrations.braze.sandbox.server import SandboxServer

__all__ = ["Limit", "Options", "SandboxServer"]
