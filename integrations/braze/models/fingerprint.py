"""A digest of key and host: accounts with the same one share a rate limit, as Braze counts the calls of a key."""

import hashlib
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import signals

from integrations.braze.models.fields import Undecryptable

if TYPE_CHECKING:
    TextField = models.CharField[str, str]
else:
    TextField = models.CharField


def of(rest_endpoint: str, api_key: str) -> str:
    """40 hexadecimal digits, the same for the same key at the same host; "" without a key.

    Braze's keys are random and long, so nobody finds one by trying.
    """
    return hashlib.sha256(f"{rest_endpoint}\0{api_key}".encode()).hexdigest()[:40] if api_key else ""


class FingerprintField(TextField):
    """Computed whenever a row is saved, in whatever way; if the key cannot be decrypted, the old value stays."""

    def contribute_to_class(self, cls: type[models.Model], name: str, private_only: bool = False) -> None:
        super().contribute_to_class(cls, name, private_only)
        signals.pre_save.connect(self._note, sender=cls)  # fixtures are saved without the fields' own `pre_save`

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        self._note(instance=model_instance)
        return super().pre_save(model_instance, add)

    def _note(self, instance: Any, **_: Any) -> None:
        if not isinstance(instance.api_key, Undecryptable):
            setattr(instance, self.attname, of(instance.rest_endpoint, instance.api_key))
