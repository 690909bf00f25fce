"""What an operator types into the settings page, and what is made of it."""

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import escape

from integrations.braze.endpoints import normalised
from integrations.braze.fields import Undecryptable
from integrations.braze.models import BrazeSettings

if TYPE_CHECKING:  # generic for the type checker alone
    ModelForm = forms.ModelForm[BrazeSettings]
else:
    ModelForm = forms.ModelForm

WHERE = "In Braze: Settings → APIs and Identifiers → API Keys."
#: What gets copied along with a key: the header it was in, quotes around it.
HEADER = re.compile(r"(authorization\s*:\s*)?bearer\s+", re.IGNORECASE)
QUOTES = "\"'`“”‘’"
#: A key travels in a header: visible ASCII, without quotes.
KEY = re.compile(r"[!#-&(-_a-~]+")
#: A shorter key shows nothing of itself.
SHORTEST_SHOWN = 12


class BrazeSettingsForm(ModelForm):
    """The API key is written, never read: it is not in the page, and left empty the stored one stays."""

    api_key = forms.CharField(
        label="API key",
        required=False,
        max_length=500,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"}),
    )

    class Meta:
        model = BrazeSettings
        exclude: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["api_key"] = ""  # so it is nowhere to be rendered from, and counts as changed only when given
        self._stored_key = self.instance.api_key
        if key := self.fields.get("api_key"):
            model_field = BrazeSettings._meta.get_field("api_key")
            key.help_text = f"{stored_key(self._stored_key)} {model_field.help_text}"
        for field in self.fields.values():
            field.help_text = escape(field.help_text)  # a template shows it as HTML, and `tag_<key>` is none

    def full_clean(self) -> None:
        """A page that comes back with errors has lost the key; saved again without it, the old one would stay."""
        super().full_clean()
        if self.errors and "api_key" not in self.errors and "api_key" in self.changed_data:
            self.add_error("api_key", "Paste the key again: it was not saved, because of the other errors.")

    def clean_api_key(self) -> str:
        typed = str(self.cleaned_data["api_key"] or "")
        return cleaned_key(typed) if typed else self._stored_key

    def clean_rest_endpoint(self) -> str:
        typed = str(self.cleaned_data["rest_endpoint"] or "")
        return normalised(typed) if typed else ""


def stored_key(key: str) -> str:
    """In words, which key is stored; never more of it than its end."""
    if isinstance(key, Undecryptable):
        return "A key is stored, but none of the keys in FIELD_ENCRYPTION_KEYS decrypts it: paste it again."
    if not key:
        return "No key is stored yet."
    which = f"A key ending in “{key[-4:]}”" if len(key) >= SHORTEST_SHOWN else "A key"
    return f"{which} is stored; leave this empty to keep it."


def cleaned_key(typed: str) -> str:
    """The key alone. Raises `ValidationError`, without repeating what was typed, for what cannot be one."""
    key = HEADER.sub("", typed.strip().strip(QUOTES).strip(), count=1).strip(QUOTES).strip()
    if "://" in key:
        raise ValidationError(f"This is an address, not an API key. {WHERE}", code="address")
    if len(key.split()) > 1:
        raise ValidationError(f"An API key has no spaces in it: paste the key alone. {WHERE}", code="spaces")
    if not KEY.fullmatch(key):
        raise ValidationError(f"An API key has letters, digits and dashes only. {WHERE}", code="characters")
    return key
