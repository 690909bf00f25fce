"""Filters of the console's pages."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import template
from django.utils import timezone
from django.utils.safestring import SafeString

from integrations.braze.mapping import money

register = template.Library()


@register.filter
def json_block(value: Any) -> SafeString:
    """Indented JSON, cut after 20,000 characters."""
    from integrations.outbox.admin import pretty_json  # the theme loads template tags before there are admins

    return pretty_json(value, most=20_000)


@register.filter
def moment(iso: str) -> str:
    """A time in Braze's notation in that of the pages; anything else as it is."""
    try:
        time = datetime.fromisoformat(iso)
    except ValueError:
        return iso or "–"
    return f"{timezone.localtime(time if time.tzinfo else time.replace(tzinfo=UTC)):%Y-%m-%d %H:%M:%S}"


@register.filter
def amount(value: Decimal, currency: str) -> str:
    return money.in_words(value, currency)
