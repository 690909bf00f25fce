"""Secrets at rest: ciphertext in the database and in fixtures, clear text in Python, and keys that can be rotated."""

import copy
import io
import json
import pickle

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection

from integrations.braze.models import BrazeSettings
from integrations.braze.models.fields import Undecryptable
from masivo_braze.loyalty.models import Account

SECRET = "9c1d4f7e-secret-key-a1b2"


@pytest.fixture
def stored(db: None) -> BrazeSettings:
    account = Account.objects.create(name="Shop", slug="shop")
    return BrazeSettings.objects.create(account=account, api_key=SECRET)


def column() -> str:
    """What the database itself holds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM braze_brazesettings")
        return str(cursor.fetchone()[0])


def fixture() -> str:
    output = io.StringIO()
    call_command("dumpdata", "loyalty.account", "braze.brazesettings", stdout=output)
    return output.getvalue()


def load(text: str, directory) -> None:
    path = directory / "fixture.json"
    path.write_text(text)
    call_command("loaddata", str(path), verbosity=0)


def test_it_keeps_ciphertext_in_the_database_and_reads_back_clear_text(stored: BrazeSettings) -> None:
    assert SECRET not in column()
    assert column().startswith("gAAAA")
    assert BrazeSettings.objects.get().api_key == SECRET


def test_it_keeps_no_ciphertext_of_an_empty_value(stored: BrazeSettings) -> None:
    BrazeSettings.objects.update(api_key="")
    assert column() == ""


def test_it_encrypts_what_is_written_by_update_and_bulk_update(stored: BrazeSettings) -> None:
    BrazeSettings.objects.update(api_key="another-key")
    assert "another-key" not in column()
    stored.api_key = "third-key"
    BrazeSettings.objects.bulk_update([stored], ["api_key"])
    assert "third-key" not in column()
    read = BrazeSettings.objects.get()
    assert (read.api_key, read.key_ending) == ("third-key", "")  # too short to show any of it
    stored.api_key = "a-much-longer-key"
    BrazeSettings.objects.bulk_update([stored], ["api_key"])
    assert BrazeSettings.objects.get().key_ending == "-key"


def test_it_encrypts_with_the_first_key_and_decrypts_with_all(stored: BrazeSettings, settings) -> None:
    old = settings.FIELD_ENCRYPTION_KEYS
    new = Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEYS = [new, *old]
    read = BrazeSettings.objects.get()
    assert read.api_key == SECRET
    read.save()
    settings.FIELD_ENCRYPTION_KEYS = [new]
    assert BrazeSettings.objects.get().api_key == SECRET


def test_it_reads_as_empty_what_no_key_decrypts_and_keeps_it_when_saved(stored: BrazeSettings, settings) -> None:
    before, old = column(), settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    read = BrazeSettings.objects.get()
    assert read.api_key == ""
    assert isinstance(read.api_key, Undecryptable)
    read.sync_events = True
    read.full_clean()
    read.save()
    assert column() == before
    settings.FIELD_ENCRYPTION_KEYS = old
    assert BrazeSettings.objects.get().api_key == SECRET


@pytest.mark.parametrize("garbage", ["not a token", "gAAAAA", "añ", SECRET])
def test_it_reads_as_empty_what_is_no_ciphertext_at_all(stored: BrazeSettings, garbage: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE braze_brazesettings SET api_key = %s", [garbage])
    assert isinstance(BrazeSettings.objects.get().api_key, Undecryptable)


def test_it_survives_copying_without_losing_the_ciphertext() -> None:
    value = Undecryptable("gAAAA-token")
    for same in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert (same, same.ciphertext) == ("", "gAAAA-token")


def test_it_dumps_no_clear_text_and_loads_what_it_dumped(stored: BrazeSettings, tmp_path) -> None:
    dumped = fixture()
    assert SECRET not in dumped
    BrazeSettings.objects.all().delete()
    load(dumped, tmp_path)
    assert BrazeSettings.objects.get().api_key == SECRET
    assert "fernet:" not in column()


def test_it_loads_a_fixture_written_by_hand_in_clear_text(stored: BrazeSettings, tmp_path) -> None:
    records = json.loads(fixture())
    records[-1]["fields"]["api_key"] = "by-hand"
    load(json.dumps(records), tmp_path)
    assert BrazeSettings.objects.get().api_key == "by-hand"
    assert "by-hand" not in column()


def test_it_takes_a_fixture_through_an_environment_that_cannot_decrypt_it(
    stored: BrazeSettings, settings, tmp_path
) -> None:
    dumped, old = fixture(), settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    load(dumped, tmp_path)
    assert json.loads(fixture())[-1] == json.loads(dumped)[-1]
    settings.FIELD_ENCRYPTION_KEYS = old
    assert BrazeSettings.objects.get().api_key == SECRET


def test_it_shows_no_secret_in_the_representation(stored: BrazeSettings) -> None:
    assert SECRET not in f"{stored!r} {stored}"
