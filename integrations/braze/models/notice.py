"""Mails about an account, recorded so that each cause is told only once."""

from django.db import models
from django.utils import timezone

from masivo_braze.loyalty.models import Account


class Topic(models.TextChoices):
    PAUSED = "paused", "the account was paused"
    REJECTED = "rejected", "the first rejection of a day"


class Notice(models.Model):
    """One mail to an account's members. `cause` tells one pause, or one day, from the next."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    topic = models.CharField(max_length=16, choices=Topic.choices)
    cause = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)
    tries = models.PositiveSmallIntegerField(default=0)
    tried_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    #: The database has the default, too: during a deployment, workers of the version before insert rows without it.
    told = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        help_text="Ids of the people who got it: a further try leaves them out.",
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "topic", "cause"], name="braze_one_notice")]

    def __str__(self) -> str:
        return f"{self.topic} of account {self.account_id}: {self.cause}"
