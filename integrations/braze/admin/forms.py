"""The form of the settings page."""

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.core import signing
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.html import escape
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminRadioSelectWidget, UnfoldAdminSelectWidget

from integrations.braze.models import BrazeSettings, endpoints
from integrations.braze.models.endpoints import normalised
from integrations.braze.models.fields import Undecryptable
from masivo_braze.console.history import changes_in_words, snapshot

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

#: A value of `instance_choice`: the address is typed.
OTHER = "other"
#: Salt for signing `made_with`, so that no other signed value of the project is accepted there.
SALT = "braze.settings.made_with"
AGAIN = "Open the page again, and make your change there."
#: Values of `workspace`: which workspace the new key or endpoint belongs to.
SAME, ANOTHER = "same", "another"
WORKSPACES = (
    (SAME, "The same workspace: its key was rotated. What Braze has is still known, and only changes are sent."),
    (ANOTHER, "Another workspace: what Braze has is forgotten here, and everything can be sent again after saving."),
)


class BrazeSettingsForm(ModelForm):
    """The API key can be written, but not read: it is not in the page, and if left empty the stored one stays.

    `instance_choice` is one of Braze's installations or `OTHER`, for which `rest_endpoint` is typed; whichever of the
    two was changed counts. `workspace` must be answered if a stored key or endpoint is replaced. `made_with` holds the
    values that the page was made with, so that saving undoes nothing that has changed since; without it nothing is
    compared.
    """

    made_with = forms.CharField(required=False, widget=forms.HiddenInput)

    instance_choice = forms.ChoiceField(label="Braze instance", required=False, widget=UnfoldAdminSelectWidget())
    api_key = forms.CharField(
        label="API key",
        required=False,
        max_length=500,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )
    workspace = forms.ChoiceField(
        label="The new key or endpoint is of",
        required=False,
        choices=WORKSPACES,
        widget=UnfoldAdminRadioSelectWidget(),
        help_text="Only needed if you replace the key or the endpoint.",
    )

    class Meta:
        model = BrazeSettings
        exclude: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["api_key"] = ""  # so that it cannot be rendered, and counts as changed only if typed
        self.initial["made_with"] = signing.dumps(_shown(self.instance), salt=SALT) if self.instance.pk else ""
        self.before = snapshot(self.instance)
        self._stored_key, self._stored_endpoint = self.instance.api_key, self.instance.rest_endpoint
        self._prepare_instance()
        if key := self.fields.get("api_key"):
            model_field = BrazeSettings._meta.get_field("api_key")
            key.help_text = f"{stored_key(self.instance)} {model_field.help_text}"
        for field in self.fields.values():
            field.help_text = escape(field.help_text)  # templates show it as HTML, and the end of a key is not HTML

    def _prepare_instance(self) -> None:
        """Show the stored address once: as an instance if it is one, else in the field for other addresses."""
        if field := self.fields.get("instance_choice"):
            known = [*((each.url, str(each)) for each in endpoints.INSTANCES), *_added()]
            field.choices = [("", "Choose your instance"), *known, (OTHER, "Another host of Braze's")]  # type: ignore[attr-defined]
            field.help_text = endpoints.WHERE
            is_known = self._stored_endpoint in dict(known)
            self.initial["instance_choice"] = self._stored_endpoint if is_known else OTHER * bool(self._stored_endpoint)
            self.initial["rest_endpoint"] = "" if is_known else self._stored_endpoint

    def full_clean(self) -> None:
        """Ask for the key again if there are other errors: the page that comes back has lost it."""
        super().full_clean()
        if self.errors and "api_key" not in self.errors and "api_key" in self.changed_data:
            self.add_error("api_key", "Paste the key again: it was not saved, because of the other errors.")

    def clean_api_key(self) -> str:
        typed = str(self.cleaned_data["api_key"] or "")
        return cleaned_key(typed) if typed else self._stored_key

    def clean_rest_endpoint(self) -> str:
        """Raises `ValidationError` for an address outside the allow-list."""
        chosen, typed = self.data.get(self.add_prefix("instance_choice"), ""), self.cleaned_data["rest_endpoint"] or ""
        if chosen not in ("", OTHER) and ("instance_choice" in self.changed_data or not typed):
            typed = chosen
        return normalised(str(typed)) if typed else ""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        self._undo_nothing(cleaned)
        if "workspace" in self.fields and not self.errors and self._replaces(cleaned) and not cleaned.get("workspace"):
            self.add_error(
                "workspace", "Say which workspace the new key or endpoint belongs to: it decides what is sent next."
            )
        return cleaned

    def _undo_nothing(self, cleaned: dict[str, Any]) -> None:
        """Add an error if saving would undo a change that somebody else has made since the page was opened."""
        if not self.instance.pk or not cleaned.get("made_with"):
            return
        try:
            made_with = signing.loads(cleaned["made_with"], salt=SALT)
        except signing.BadSignature:
            self.add_error(
                None, f"Nothing was saved: the values that this page was opened with cannot be read. {AGAIN}"
            )
            return
        now = BrazeSettings.objects.select_for_update().get(pk=self.instance.pk)  # two who save at once take turns
        stored = snapshot(now)
        moved = [name for name, value in _shown(now).items() if value != made_with.get(name, value)]
        undone = {name: made_with[name] for name in moved if cleaned.get(name) != stored[name]}
        if undone:
            words = changes_in_words(stored | undone, now, secret=("api_key",))
            said = f"Nothing was saved: these settings have changed since this page was opened. {words}. {AGAIN}"
            self.add_error(None, said)

    @property
    def replaced(self) -> str:
        """`SAME` or `ANOTHER` if a stored key or endpoint is replaced, else ""."""
        return str(self.cleaned_data.get("workspace") or "") if self._replaces(self.cleaned_data) else ""

    def _replaces(self, cleaned: dict[str, Any]) -> bool:
        """Whether a stored key or endpoint is replaced."""
        new_key = self._has_key() and cleaned.get("api_key") != self._stored_key
        return new_key or bool(self._stored_endpoint and cleaned.get("rest_endpoint") != self._stored_endpoint)

    def _has_key(self) -> bool:
        return bool(self._stored_key) or isinstance(self._stored_key, Undecryptable)


def _shown(settings: BrazeSettings) -> dict[str, Any]:
    """The values that the page shows, in JSON's types; for the key, which is not shown, when it was changed."""
    editable = [field for field in BrazeSettings._meta.concrete_fields if field.editable and not field.primary_key]
    changed = settings.key_changed_at
    key = {"api_key": changed.isoformat() if changed else ""}
    return {field.name: field.value_from_object(settings) for field in editable} | key


def _added() -> list[tuple[str, str]]:
    return [(url, f"{url} (added by this deployment)") for url in sorted(endpoints.extra_endpoints())]


def stored_key(settings: BrazeSettings) -> str:
    """In words, which key is stored and since when; shows no more of it than its end."""
    key, ending = settings.api_key, settings.key_ending
    which = f"A key ending in “{ending}”" if ending else "A key"
    if isinstance(key, Undecryptable):
        return f"{which} is stored, but none of the keys in FIELD_ENCRYPTION_KEYS decrypts it: paste it again."
    if not key:
        return "No key is stored yet."
    changed = settings.key_changed_at
    since = f" since {timezone.localtime(changed):%Y-%m-%d %H:%M}" if changed else ""
    return f"{which} is stored{since}; leave this empty to keep it."


def cleaned_key(typed: str) -> str:
    """The key alone. Raises `ValidationError`, which does not repeat what was typed, if it cannot be a key."""
    key = HEADER.sub("", typed.strip().strip(QUOTES).strip(), count=1).strip(QUOTES).strip()
    if "://" in key:
        raise ValidationError(f"This is an address, not an API key. {WHERE}", code="address")
    if len(key.split()) > 1:
        raise ValidationError(f"An API key has no spaces in it: paste the key alone. {WHERE}", code="spaces")
    if not KEY.fullmatch(key):
        raise ValidationError(f"An API key has letters, digits and dashes only. {WHERE}", code="characters")
    return key
