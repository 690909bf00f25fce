"""The admin: the settings page, health, timelines, failed and skipped syncs, and the records of the sync."""

from integrations.braze.admin import beside
from integrations.braze.admin.arrival import ArrivalAdmin
from integrations.braze.admin.failed_syncs import FailedSyncAdmin
from integrations.braze.admin.health import HealthAdmin
from integrations.braze.admin.records import BrazeProfileAdmin, BrazePurchaseAdmin, DeliveryAdmin
from integrations.braze.admin.settings import BrazeSettingsAdmin
from integrations.braze.admin.skipped_syncs import SkippedSyncAdmin

__all__ = [
    "ArrivalAdmin",
    "BrazeProfileAdmin",
    "BrazePurchaseAdmin",
    "BrazeSettingsAdmin",
    "DeliveryAdmin",
    "FailedSyncAdmin",
    "HealthAdmin",
    "SkippedSyncAdmin",
    "beside",
]
