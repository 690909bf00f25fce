"""What all commands of an operator have in common."""

import pytest
from django.core.management import CommandError

from integrations.braze.models import BrazeSettings
from masivo_braze.loyalty.models import Account
from tests.integrations.braze.commands import run


@pytest.mark.parametrize("command", ["braze_drain", "braze_accounting"])
def test_an_empty_slug_is_no_account_and_not_all(account: Account, braze: BrazeSettings, command: str) -> None:
    """As from a shell variable that is not set."""
    with pytest.raises(CommandError, match="“”"):
        run(command, "--account", "")
