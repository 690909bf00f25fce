"""A text field that is encrypted in the database and clear text in Python."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models

#: Marks ciphertext in a fixture: without it, loading the fixture would encrypt the ciphertext again.
IN_FIXTURES = "fernet:"
#: Ciphertexts of which it is remembered whether they can be decrypted: some 20 MB, if there are as many.
REMEMBERED = 50_000


class Undecryptable(str):
    """What a stored secret reads as if none of the keys decrypts it: an empty string, so it is never sent anywhere.

    It remembers the ciphertext, so that saving the row for another reason does not destroy it.
    """

    ciphertext: str

    def __new__(cls, ciphertext: str) -> "Undecryptable":
        value = super().__new__(cls, "")
        value.ciphertext = ciphertext
        return value


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Fernet ciphertext in the database; the first of `FIELD_ENCRYPTION_KEYS` encrypts, all decrypt."""

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        if not value:
            return value
        try:
            return _cipher(settings.FIELD_ENCRYPTION_KEYS).decrypt(value.encode()).decode()
        except InvalidToken:
            return Undecryptable(value)

    def to_python(self, value: Any) -> Any:
        """Clear text stays as it is; what `value_to_string` wrote into a fixture is decrypted."""
        if isinstance(value, str) and value.startswith(IN_FIXTURES):
            return self.from_db_value(value.removeprefix(IN_FIXTURES))
        return super().to_python(value)

    def value_to_string(self, obj: models.Model) -> str:
        """For fixtures (`dumpdata`): ciphertext, marked as such, so that no secret leaves in clear text."""
        value = self.get_prep_value(self.value_from_object(obj))
        return f"{IN_FIXTURES}{value}" if value else ""

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, Undecryptable):
            return value.ciphertext
        return _cipher(settings.FIELD_ENCRYPTION_KEYS).encrypt(str(value).encode()).decode() if value else value


def can_decrypt(ciphertext: str) -> bool:
    """Whether one of the keys decrypts it. Remembered, as it is asked of each account every second."""
    return _can_decrypt(ciphertext, tuple(settings.FIELD_ENCRYPTION_KEYS))


@lru_cache(maxsize=REMEMBERED)
def _can_decrypt(ciphertext: str, keys: tuple[str, ...]) -> bool:
    try:
        return bool(_cipher(keys).decrypt(ciphertext.encode()))
    except InvalidToken:
        return False


def _cipher(keys: Iterable[str]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
