"""Deleted customers whose personal data may not be scrubbed yet."""

from django.db import models
from django.utils import timezone

from masivo_braze.loyalty.models import Account


class DeletedCustomer(models.Model):
    """Written in the deletion's own transaction; deleted once no personal data is left (`scrubbing.py`)."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    external_id = models.CharField(max_length=1024)
    last_entry = models.PositiveBigIntegerField(
        help_text="The customer's last captured change: later ones are of a customer created again."
    )
    deleted_at = models.DateTimeField(default=timezone.now)
    scrubbed_at = models.DateTimeField(
        null=True, help_text="Since then only what was still on its way at that moment is left."
    )

    def __str__(self) -> str:
        return f"{self.external_id} of account {self.account_id}"
