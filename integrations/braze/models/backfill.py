"""Accounts of which everything is being captured, and how far that has come."""

from django.db import models
from django.utils import timezone

from masivo_braze.loyalty.models import Account


class Backfill(models.Model):
    """Moved on in the transaction of each chunk, and deleted when all is captured (`recovery/backfill.py`)."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, primary_key=True, related_name="+")
    step = models.PositiveSmallIntegerField(default=0, help_text="Which kind of record is being captured.")
    after = models.CharField(max_length=64, blank=True, help_text="The primary key of the last record that was seen.")
    seen = models.PositiveBigIntegerField(default=0, help_text="Records of this kind.")
    captured = models.PositiveBigIntegerField(default=0, help_text="Of these.")
    moved_at = models.DateTimeField(default=timezone.now, help_text="When somebody was at it last.")

    def __str__(self) -> str:
        return f"backfill of account {self.account_id}: {self.seen} records of kind {self.step}"
