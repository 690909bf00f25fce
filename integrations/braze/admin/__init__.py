"""The admin: the settings page, failed syncs to decide about, and the records of the sync to look at."""

from integrations.braze.admin import beside
from integrations.braze.admin.failed_syncs import FailedSyncAdmin
from integrations.braze.admin.records import BrazeProfileAdmin, BrazePurchaseAdmin, DeliveryAdmin
from integrations.braze.admin.settings import BrazeSettingsAdmin

__all__ = [
    "BrazeProfileAdmin",
    "BrazePurchaseAdmin",
    "BrazeSettingsAdmin",
    "DeliveryAdmin",
    "FailedSyncAdmin",
    "beside",
]
