"""Properties of events and purchases: flattened, with names and sizes that Braze takes [Braze: event object]."""

from collections import Counter
from collections.abc import Container
from math import isfinite
from typing import Any

import orjson

from integrations.braze.mapping.text import MAX_TEXT, cleaned, is_fine, shown
from integrations.braze.mapping.values import INT_MAX, INT_MIN, scalar

#: "At most 256 distinct properties per event or purchase".
MAX_PROPERTIES = 256
#: Names whose validity is cached; merchants make them up, so there may be any number.
_REMEMBERED = 8192
#: The name of a property that has none left.
_NAMELESS = "property"

_OBJECTS = frozenset({dict})
_NESTED = frozenset({dict, list})

Leaf = tuple[tuple[str, ...], Any]


class Names(dict[str, bool]):
    """Cache of whether a name can stay as it is; those in `taken` cannot, as they are the caller's or Braze's.

    Events of one type have the same names again and again.
    """

    def __init__(self, taken: frozenset[str]) -> None:
        self.taken = taken

    def __missing__(self, name: str) -> bool:
        if len(self) >= _REMEMBERED:
            self.clear()
        can_stay = self[name] = name != "" and name[0] != "$" and is_fine(name) and name not in self.taken
        return can_stay


def flattened(data: dict[str, Any], names: Names, adjustments: list[str], room: int) -> dict[str, Any]:
    """At most `room` properties: nested dicts joined by `_`, lists of objects indexed, nulls omitted.

    If two paths come to one name, both survive: one gets a number.
    """
    named: dict[str, Any] = {}
    if not _adds_plainly("", data, named, names):
        named = flattened_closely(data, names.taken, adjustments)
    return named if len(named) <= room else _first(named, room, adjustments)


def lightened(named: dict[str, Any], max_bytes: int, adjustments: list[str]) -> dict[str, Any]:
    """As many of the properties as take no more than `max_bytes` of JSON: the largest are left out."""
    return named if len(orjson.dumps(named)) <= max_bytes else _largest_left_out(named, max_bytes, adjustments)


# --- the fast path: data that needs no change, as nearly all data -----------------------------------------


def _adds_plainly(prefix: str, data: dict[str, Any], named: dict[str, Any], names: Names) -> bool:
    """Add the properties to `named`; False as soon as a name or a value cannot stay as it is: `named` is then
    incomplete.

    The hottest loop of the mapping: the most frequent cases are checked first, and without function calls.
    """
    for key, value in data.items():
        kind = value.__class__
        if kind is str:
            if not (len(value) <= MAX_TEXT and value.isascii() and "\x00" not in value) and not is_fine(value):
                return False
        elif kind is dict:
            if not _adds_plainly(f"{prefix}{key}_", value, named, names):
                return False
            continue
        elif value is None:
            continue
        elif kind is list:
            if not _adds_list_plainly(prefix + key, value, named, names):
                return False
            continue
        elif kind is int:
            if not INT_MIN <= value <= INT_MAX:
                return False
        elif kind is not bool and not (kind is float and isfinite(value)):
            return False
        name = prefix + key
        if name in named or not names[name]:
            return False
        named[name] = value
    return True


def _adds_list_plainly(name: str, items: list[Any], named: dict[str, Any], names: Names) -> bool:
    kinds = set(map(type, items))
    if kinds == _OBJECTS:
        for index, item in enumerate(items):  # noqa: SIM110  # a generator takes a third longer
            if not _adds_plainly(f"{name}_{index}_", item, named, names):
                return False
        return True
    if not kinds.isdisjoint(_NESTED):
        return _adds_plainly(f"{name}_", {str(index): item for index, item in enumerate(items)}, named, names)
    if name in named or not names[name] or not all(map(_is_plain, items)):
        return False
    named[name] = items
    return True


def _is_plain(value: Any) -> bool:
    kind = value.__class__
    if kind is str:
        return is_fine(value)
    if kind is int:
        return bool(INT_MIN <= value <= INT_MAX)
    return kind is bool or (kind is float and isfinite(value))


# --- the thorough path: data that needs changes -----------------------------------------------------------


def flattened_closely(data: dict[str, Any], taken: frozenset[str], adjustments: list[str]) -> dict[str, Any]:
    """Like `flattened`, for any data and without the limit; slower."""
    leaves: list[Leaf] = []
    _walk((), data, leaves, adjustments)
    return _named(leaves, taken, adjustments)


def _walk(path: tuple[str, ...], data: dict[str, Any], leaves: list[Leaf], adjustments: list[str]) -> None:
    for key, value in data.items():
        _visit((*path, key), value, leaves, adjustments)


def _visit(path: tuple[str, ...], value: Any, leaves: list[Leaf], adjustments: list[str]) -> None:
    if value is None:
        return
    kind = value.__class__
    if kind is dict:
        _walk(path, value, leaves, adjustments)
    elif kind is list:
        _visit_list(path, value, leaves, adjustments)
    elif kind is bool or (kept := scalar(path[-1], value, adjustments)) is not None:
        leaves.append((path, value if kind is bool else kept))


def _visit_list(path: tuple[str, ...], items: list[Any], leaves: list[Leaf], adjustments: list[str]) -> None:
    if any(item.__class__ in (dict, list) for item in items):
        for index, item in enumerate(items):
            _visit((*path, str(index)), item, leaves, adjustments)
        return
    kept = [scalar(path[-1], item, adjustments) for item in items if item is not None]
    leaves.append((path, [item for item in kept if item is not None]))


# --- names ----------------------------------------------------------------------------------------------


def _named(leaves: list[Leaf], taken: frozenset[str], adjustments: list[str]) -> dict[str, Any]:
    """The leaves by their final names. Which of several keeps a name does not depend on the order of the data.

    It is one whose name needs no change, then the one with the shorter path.
    """
    plain = ["_".join(path) for path, _ in leaves]
    wanted = list(map(_acceptable, plain))
    claims = sorted((wanted[i] != plain[i], len(path), path, i) for i, (path, _) in enumerate(leaves))
    used, numbers, names = set(taken), Counter[str](), dict[int, str]()
    for _, _, path, index in claims:
        names[index] = _free(wanted[index], used, numbers)
        used.add(names[index])
        if names[index] != plain[index]:
            adjustments.append(f"{shown('.'.join(path))} is sent as {shown(names[index])}")
    return {names[index]: value for index, (_, value) in enumerate(leaves)}


def _acceptable(name: str) -> str:
    return cleaned(name).lstrip("$")[:MAX_TEXT] or _NAMELESS


def _free(name: str, used: Container[str], numbers: Counter[str]) -> str:
    candidate = name
    while candidate in used:
        numbers[name] += 1
        suffix = f"_{numbers[name] + 1}"
        candidate = name[: MAX_TEXT - len(suffix)] + suffix
    return candidate


# --- limits ---------------------------------------------------------------------------------------------


def _first(named: dict[str, Any], room: int, adjustments: list[str]) -> dict[str, Any]:
    left_out = list(named)[room:]
    adjustments.append(f"{len(left_out):,} properties over {MAX_PROPERTIES} left out: {_listed(left_out)}")
    return dict(list(named.items())[:room])


def _largest_left_out(named: dict[str, Any], max_bytes: int, adjustments: list[str]) -> dict[str, Any]:
    """The fewest properties go: the largest first."""
    sizes = {name: len(orjson.dumps({name: value})) - 1 for name, value in named.items()}
    total, left_out = sum(sizes.values()) + 1, set[str]()
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if total <= max_bytes:
            break
        total -= sizes[name]
        left_out.add(name)
    adjustments.append(
        f"{len(left_out):,} properties left out, over {max_bytes // 1000} KB: {_listed(sorted(left_out))}"
    )
    return {name: value for name, value in named.items() if name not in left_out}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(map(shown, names[:5])) + more
