"""The whole sandbox as one function from request to response: Braze's endpoints, the control endpoints, the page."""

import time

from integrations.braze.sandbox.api import ENDPOINTS, BrazeApi, Clock
from integrations.braze.sandbox.control import Control
from integrations.braze.sandbox.faults import Faults
from integrations.braze.sandbox.keys import ApiKey, Keyring
from integrations.braze.sandbox.limits import Limiter
from integrations.braze.sandbox.messages import Request, Response, message
from integrations.braze.sandbox.options import Options
from integrations.braze.sandbox.page import serve_page
from integrations.braze.sandbox.workspace import Workspace


class Sandbox:
    """Everything but the sockets; `handle` is called from one thread only."""

    def __init__(self, options: Options, clock: Clock = time.time) -> None:
        self.options = options
        self.faults = Faults()
        self.faults.set(options.faults)
        keys = [ApiKey.parse(text, options.contract) for text in options.keys]
        keyring = Keyring(keys, options.refused_keys, options.contract)
        self.api = BrazeApi(self._new_workspace(), keyring, self._new_limiter(), self.faults, clock)
        self.api.with_codes = options.error_style == "codes"
        self.control = Control(self.api, self.reset)

    @property
    def workspace(self) -> Workspace:
        return self.api.workspace

    def handle(self, request: Request) -> Response:
        if request.path.startswith("/control/"):
            return self.control.handle(request)
        if request.path.removesuffix("/") in ENDPOINTS:
            return self.api.handle(request) if request.method == "POST" else message(404, "Not Found")
        return serve_page(request)

    def reset(self) -> None:
        """Forget all data, limits spent and faults set since the start."""
        self.faults.set(self.options.faults)
        self.api.restart(self._new_workspace(), self._new_limiter())

    def _new_workspace(self) -> Workspace:
        options = self.options
        workspace = Workspace(
            keep_profiles=options.keep_profiles,
            journal=options.journal,
            delete_delay=options.delete_delay,
            read_lag=options.read_lag,
        )
        workspace.rules.blocked_attributes |= set(options.blocked_attributes)
        workspace.rules.blocked_events |= set(options.blocked_events)
        workspace.rules.blocked_products |= set(options.blocked_products)
        workspace.rules.blacklisted_users |= set(options.blacklisted_users)
        workspace.rules.attribute_types |= options.attribute_types
        return workspace

    def _new_limiter(self) -> Limiter:
        options = self.options
        limits = {"track": options.track_limit, "delete": options.delete_limit, "export": options.export_limit}
        return Limiter(limits, options.hourly_limit, options.rate_headers)
