from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models


def validate_time_zone(name: str) -> None:
    if name not in available_timezones():
        raise ValidationError(
            "“%(name)s” is not a time zone; use a name such as America/Bogota.", params={"name": name}
        )


validate_currency = RegexValidator(r"\A[A-Z]{3}\Z", "Use the three capital letters of ISO 4217, such as USD.")


class Account(models.Model):
    """A merchant: the tenant that everything else belongs to."""

    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=100, unique=True)
    currency = models.CharField(max_length=3, default="USD", validators=[validate_currency])
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="loyalty_accounts", blank=True)

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises `ValidationError` for a slug that no page's address can have, so that lists of accounts can be shown.

        Forms are stricter than this.
        """
        if not self.slug or "/" in self.slug:
            raise ValidationError({"slug": "A slug is part of addresses: it needs a character, and no slash."})
        super().save(*args, **kwargs)
