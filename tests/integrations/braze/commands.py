"""Commands as they are run from a shell, and what `braze_status` says of an account."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from integrations.outbox.models import Kind, OutboxEntry
from masivo_braze.loyalty.models import Account


def run(command: str, *arguments: str) -> str:
    output = io.StringIO()
    call_command(command, *arguments, stdout=output)
    return output.getvalue()


def refused(command: str, *arguments: str) -> tuple[str, CommandError]:
    output = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command(command, *arguments, stdout=output)
    return output.getvalue(), caught.value


def status(slug: str = "shop") -> dict[str, Any]:
    accounts = json.loads(run("braze_status", "--json"))["accounts"]
    return next(line for line in accounts if line["account"] == slug)


def entry(account: Account, **fields: Any) -> OutboxEntry:
    defaults = {"integration": "braze", "kind": Kind.CUSTOMER_UPDATED, "customer_external_id": "c-1"}
    return OutboxEntry.objects.create(account=account, **(defaults | fields))
