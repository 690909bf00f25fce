"""Masivo's own records: the source of every sync. They know nothing of integrations."""

from masivo_braze.loyalty.models.account import Account
from masivo_braze.loyalty.models.audience import Audience, Membership, Recalculation
from masivo_braze.loyalty.models.customer import Customer
from masivo_braze.loyalty.models.event import Event
from masivo_braze.loyalty.models.order import Order, OrderLine

__all__ = ["Account", "Audience", "Customer", "Event", "Membership", "Order", "OrderLine", "Recalculation"]
