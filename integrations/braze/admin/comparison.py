"""What Braze holds of a customer beside what is believed: counts and the ledger, attributes and the mirror."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.db.models import Sum

from integrations.braze.delivery import export
from integrations.braze.delivery.export import Exported, Tally
from integrations.braze.mapping.customers import AUDIENCE_PREFIX, TAG_PREFIX
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, Fate

#: Prefixes of the custom attributes that are ours to compare; a workspace may have hundreds of others.
OURS = ("loyalty_", TAG_PREFIX, AUDIENCE_PREFIX)


@dataclass(frozen=True, slots=True)
class Product:
    """Units of one product: as counted by Braze, and by their fate here."""

    name: str
    counted: int
    last: str
    delivered: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Attribute:
    name: str
    there: str
    believed: str
    differs: bool


def asked(account_id: int, external_id: str) -> dict[str, Any]:
    """Context for a template: what Braze holds and how it compares, or `problem`, why there is no answer."""
    settings = BrazeSettings.objects.filter(account_id=account_id).first()
    if settings is None:
        return {"problem": "The account has no Braze settings."}
    try:
        held = export.ask(settings, external_id)
    except export.NotAnswered as error:
        return {"problem": str(error)}
    return {"held": held, **beside(held, account_id, external_id)}


def beside(held: Exported, account_id: int, external_id: str) -> dict[str, Any]:
    """Context for a template: products, attributes, and totals of events and purchases."""
    return {
        "products": _products(held.purchases, account_id, external_id),
        "attributes": _attributes(held, account_id, external_id) if held.is_known else [],
        "events_in_all": _total(held.events),
        "purchases_in_all": _total(held.purchases),
    }


def _total(tallies: list[Tally]) -> Tally:
    return Tally("", sum(tally.count for tally in tallies), max((tally.last for tally in tallies), default=""))


def _products(counted: list[Tally], account_id: int, external_id: str) -> list[Product]:
    """Sales and reversals count alike, as Braze counts a reversal as a further purchase."""
    rows = BrazePurchase.objects.filter(account_id=account_id, customer_external_id=external_id)
    units: Counter[tuple[str, str]] = Counter()
    for product, fate, quantity in rows.values_list("product_id", "fate").annotate(Sum("quantity")):
        units[product, fate] = quantity
    there = {tally.name: tally for tally in counted}
    ours = {product for product, fate in units if fate in (Fate.DELIVERED, Fate.UNKNOWN)}
    return [
        Product(
            name,
            there[name].count if name in there else 0,
            there[name].last if name in there else "",
            units[name, Fate.DELIVERED.value],
            units[name, Fate.UNKNOWN.value],
        )
        for name in [*there, *sorted(ours - there.keys())]
    ]


def _attributes(held: Exported, account_id: int, external_id: str) -> list[Attribute]:
    profile = BrazeProfile.objects.filter(account_id=account_id, external_id=external_id).first() or BrazeProfile()
    ours = {name for name in held.attributes if name.startswith(OURS)}
    names = sorted({*profile.attributes, *profile.uncertain, *ours})
    return [_attribute(name, held.attributes.get(name), profile) for name in names]


def _attribute(name: str, there: Any, profile: BrazeProfile) -> Attribute:
    believed = profile.attributes.get(name)
    words = "uncertain: sent, and the answer was lost" if name in profile.uncertain else _words(believed)
    return Attribute(name, _words(there), words, _comparable(name, there) != _comparable(name, believed))


def _comparable(name: str, value: Any) -> Any:
    """The value without differences in notation: Braze lower-cases addresses, and exports a date with a time."""
    if isinstance(value, str):
        return {"email": value.lower(), "dob": value[:10]}.get(name, value)
    return value


def _words(value: Any) -> str:
    return "–" if value is None else str(value)
