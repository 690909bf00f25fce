"""Text that is encrypted in the database and clear in Python."""

from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class Undecryptable(str):
    """What a stored secret reads as when none of the keys decrypts it: empty, so it is never sent anywhere.

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
            return _cipher().decrypt(value.encode()).decode()
        except InvalidToken:
            return Undecryptable(value)

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, Undecryptable):
            return value.ciphertext
        return _cipher().encrypt(str(value).encode()).decode() if value else value


def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])
