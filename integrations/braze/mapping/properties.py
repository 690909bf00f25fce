"""Properties of events and purchases: flat, under names Braze takes, within its limits [Braze: event object]."""

from collections import Counter
from collections.abc import Container
from functools import lru_cache
from math import isfinite
from typing import Any

import orjson

from integrations.braze.mapping.text import MAX_TEXT, cleaned, is_fine, shown
from integrations.braze.mapping.values import INT_MAX, INT_MIN, scalar

#: "At most 256 distinct properties per event or purchase".
MAX_PROPERTIES = 256
#: No name with its text takes more JSON than this: twice 255 characters, at worst six bytes each.
_MOST_BYTES = 2 * 6 * MAX_TEXT + 8
#: What a property is called that has no name left.
_NAMELESS = "property"

Leaf = tuple[tuple[str, ...], Any]


def flattened(
    data: dict[str, Any], taken: frozenset[str], adjustments: list[str], room: int, max_bytes: int
) -> dict[str, Any]:
    """Nested dicts joined by `_`, lists of objects indexed, nulls omitted; no name lost to another's.

    Names in `taken` are the caller's or Braze's. At most `room` properties come back, in `max_bytes` of JSON.
    """
    named: dict[str, Any] = {}
    if not _adds_plainly("", data, named, taken):
        leaves: list[Leaf] = []
        _walk((), data, leaves, adjustments)
        named = _named(leaves, taken, adjustments)
    if len(named) > room:
        named = _first(named, room, adjustments)
    return _largest_left_out(named, max_bytes, adjustments) if _may_exceed(named, max_bytes) else named


# --- data as nearly all data is: nothing needs changing -------------------------------------------------


def _adds_plainly(prefix: str, data: dict[str, Any], named: dict[str, Any], taken: frozenset[str]) -> bool:
    """False as soon as a name or a value cannot stay as it is; `named` is then of no use.

    The busiest lines of the mapping: what is nearly always so is asked first, and without a call.
    """
    for key, value in data.items():
        kind, name = value.__class__, prefix + key
        if kind is dict:
            if not _adds_plainly(f"{name}_", value, named, taken):
                return False
        elif kind is list:
            if not _adds_list_plainly(name, value, named, taken):
                return False
        elif value is not None:
            is_plain = (
                kind is str and len(value) <= MAX_TEXT and value.isascii() and "\x00" not in value
            ) or kind is bool
            if not is_plain and not _is_plain(value):
                return False
            if name in named or name in taken or not _is_name(name):
                return False
            named[name] = value
    return True


def _adds_list_plainly(name: str, items: list[Any], named: dict[str, Any], taken: frozenset[str]) -> bool:
    kinds = {item.__class__ for item in items}
    if dict in kinds or list in kinds:
        return _adds_plainly(f"{name}_", {str(index): item for index, item in enumerate(items)}, named, taken)
    if not all(map(_is_plain, items)) or name in named or name in taken or not _is_name(name):
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


@lru_cache(maxsize=8192)
def _is_name(name: str) -> bool:
    """Events of a type have the same names, again and again."""
    return name != "" and name[0] != "$" and is_fine(name)


# --- data that needs a closer look ----------------------------------------------------------------------


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
    """Who keeps a name does not depend on the order of the data: it is who needs no change, then the shorter path."""
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


def _may_exceed(named: dict[str, Any], max_bytes: int) -> bool:
    """A look at the number spares the encoding of what is plainly small."""
    if len(named) * _MOST_BYTES <= max_bytes and list not in map(type, named.values()):
        return False
    return len(orjson.dumps(named)) > max_bytes


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
