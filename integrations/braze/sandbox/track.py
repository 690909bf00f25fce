"""POST /users/track: what Braze says to a body [1.1 to 1.3, 1.7 to 1.9]. Pure: nothing is applied here."""

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

from integrations.braze.sandbox.identifiers import BLACKLISTED
from integrations.braze.sandbox.object_rules import CODES, check_attributes, check_event, check_purchase

MAX_OBJECTS = 75
NO_VALID_DATA = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
TOO_MANY = "Max Input Length Exceeded"

# In the order in which Braze applies them [1.10].
CHECKS: dict[str, Callable[[object], str | None]] = {
    "attributes": check_attributes,
    "events": check_event,
    "purchases": check_purchase,
}


@dataclass(slots=True)
class Judgement:
    """What becomes of each object of a request. `accepted` keeps the objects of each array that was sent, in order."""

    accepted: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    accepted_indexes: dict[str, list[int]] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)
    sent: int = 0
    refusal: str | None = None

    @property
    def status(self) -> int:
        return 400 if self.refusal or self.is_all_invalid else 201

    @property
    def is_all_invalid(self) -> bool:
        return self.sent > 0 and len(self.errors) == self.sent

    def body(self) -> dict[str, Any]:
        if self.refusal:
            return {"message": self.refusal}
        if self.is_all_invalid:
            return {"message": NO_VALID_DATA, "errors": self.errors}
        counts = {f"{name}_processed": len(items) for name, items in self.accepted.items()}
        errors = {"errors": self.errors} if self.errors else {}
        return counts | errors | {"message": "success"}


def judge(document: object, contract: str, blocked: Container[str] = (), with_codes: bool = False) -> Judgement:
    """Braze's verdict on a parsed body.

    `contract`: "legacy" (75 objects per array) or "combined" (75 in all) [1.3].
    `blocked`: external ids whose data Braze refuses [4]. `with_codes`: name errors by the documented codes
    where there are any, not by the sentences of live answers [1.8]. Raises NotSimulated.
    """
    arrays = _arrays(document)
    sent = sum(map(len, arrays.values()))
    if sent == 0:
        return Judgement(refusal=NO_VALID_DATA)
    if (sent if contract == "combined" else max(map(len, arrays.values()))) > MAX_OBJECTS:
        return Judgement(refusal=TOO_MANY)
    judgement = Judgement(sent=sent)
    for name, items in arrays.items():
        _judge_array(judgement, name, items, blocked)
    if with_codes:
        for error in judgement.errors:
            error["type"] = CODES.get(error["type"], error["type"])
    return judgement


def _arrays(document: object) -> dict[str, list[Any]]:
    if not isinstance(document, dict):
        return {}
    return {name: document[name] for name in CHECKS if isinstance(document.get(name), list)}


def _judge_array(judgement: Judgement, name: str, items: list[Any], blocked: Container[str]) -> None:
    check = CHECKS[name]
    accepted: list[dict[str, Any]] = []
    indexes: list[int] = []
    for index, item in enumerate(items):
        problem = check(item)
        if problem is None and blocked and item.get("external_id") in blocked:
            problem = BLACKLISTED
        if problem is None:
            accepted.append(item)
            indexes.append(index)
        else:
            judgement.errors.append({"index": index, "input_array": name, "type": problem})
    judgement.accepted[name] = accepted
    judgement.accepted_indexes[name] = indexes
