"""What the integration keeps: settings and state of an account, the mirror, the purchases and the ledger."""

from integrations.braze.models.account import BrazeSettings, BrazeState
from integrations.braze.models.backfill import Backfill
from integrations.braze.models.deleted import DeletedCustomer
from integrations.braze.models.ledger import Delivery, Endpoint, Outcome
from integrations.braze.models.notice import Notice
from integrations.braze.models.profile import BrazeProfile
from integrations.braze.models.purchase import BrazePurchase, Fate

__all__ = [
    "Backfill",
    "BrazeProfile",
    "BrazePurchase",
    "BrazeSettings",
    "BrazeState",
    "DeletedCustomer",
    "Delivery",
    "Endpoint",
    "Fate",
    "Notice",
    "Outcome",
]
