"""The mirror: what Braze is believed to hold of each customer."""

from django.db import models

from masivo_braze.loyalty.models import Account


class BrazeProfile(models.Model):
    """The attributes that Braze last accepted for one external id. An attribute that is absent was never sent by us."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_index=False)
    external_id = models.CharField(max_length=1024)
    attributes = models.JSONField(default=dict)
    uncertain = models.JSONField(
        default=list,
        help_text="Attributes whose last request had no known outcome: their next value is sent, whatever it is.",
    )
    refused = models.JSONField(
        default=dict, help_text="Values that Braze refused: they are not sent again until they change."
    )
    recent = models.JSONField(
        default=dict, help_text="Attributes sent of late, with the time of Braze's answer in seconds since 1970."
    )
    is_known = models.BooleanField(default=False, help_text="Braze has accepted an object that proves the user exists.")
    is_unproven = models.BooleanField(
        default=False, help_text="Braze took updates of a user who may not exist: they are sent again once one does."
    )
    last_accepted_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True, help_text="When Braze accepted the deletion of the user.")

    class Meta:
        verbose_name = "profile in Braze"
        verbose_name_plural = "profiles in Braze"
        constraints = [models.UniqueConstraint(fields=["account", "external_id"], name="braze_one_profile")]

    def __str__(self) -> str:
        return self.external_id
