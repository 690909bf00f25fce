"""Text as Braze and JSON take it."""

from collections.abc import Sequence

#: Braze: names and strings are limited to 255 characters; a longer one is dropped silently [Braze: data types].
MAX_TEXT = 255
#: Sentences kept on an entry; more would hardly say more.
MAX_ADJUSTMENTS = 20
_SHOWN = 60


def is_fine(text: str) -> bool:
    """Whether Braze, JSON and both databases take the text as it is."""
    return len(text) <= MAX_TEXT and (text.isascii() or _is_encodable(text)) and "\x00" not in text


def fitted(name: str, text: str, adjustments: list[str]) -> str:
    """`text` cleaned and cut to what Braze takes; `name` is what the adjustments call it."""
    if is_fine(text):
        return text
    fine = cleaned(text)
    if fine != text:
        adjustments.append(f"{shown(name)}: characters that cannot be sent were taken out")
    if len(fine) > MAX_TEXT:
        adjustments.append(f"{shown(name)}: cut from {len(fine):,} to {MAX_TEXT} characters")
    return fine[:MAX_TEXT]


def cleaned(text: str) -> str:
    """Without NUL, and with ? for the halves of surrogate pairs: what UTF-8 and every database can hold."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def shown(text: str) -> str:
    """`text` in quotation marks, shortened to fit into a sentence."""
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"“{cleaned(short)}”"


def summed_up(adjustments: Sequence[str]) -> tuple[str, ...]:
    """The first `MAX_ADJUSTMENTS`, and how many more there are."""
    if len(adjustments) <= MAX_ADJUSTMENTS:
        return tuple(adjustments)
    return (*adjustments[:MAX_ADJUSTMENTS], f"and {len(adjustments) - MAX_ADJUSTMENTS:,} more")


def _is_encodable(text: str) -> bool:
    """False if it contains half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
