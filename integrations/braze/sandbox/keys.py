"""API keys: which are accepted, what each may do, and which contract it is on [1.3, 8]."""

from dataclasses import dataclass

PERMISSIONS = frozenset(("users.track", "users.delete", "users.export.ids"))
CONTRACTS = ("legacy", "combined")
ALWAYS_REFUSED = "invalid"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`contract`: "legacy" takes 75 objects per array, "combined" 75 in all."""

    value: str
    permissions: frozenset[str]
    contract: str

    @classmethod
    def parse(cls, text: str, default_contract: str) -> "ApiKey":
        """From `KEY[:WORD,WORD]`, each word a permission or a contract. Raises ValueError naming a wrong word."""
        value, _, words_text = text.partition(":")
        words = {word.strip() for word in words_text.split(",") if word.strip()}
        unknown = words - PERMISSIONS - set(CONTRACTS)
        if unknown or not value:
            raise ValueError(f"{text!r}: expected KEY[:{'|'.join(sorted(PERMISSIONS))}|legacy|combined,…]")
        contract = next((word for word in CONTRACTS if word in words), default_contract)
        return cls(value, frozenset(words & PERMISSIONS) or PERMISSIONS, contract)


class Keyring:
    """With no keys named, any is accepted but `invalid` and those refused by name."""

    def __init__(self, keys: list[ApiKey], refused: list[str], contract: str) -> None:
        self._keys = {key.value: key for key in keys}
        self._contract = contract
        self.refused = {ALWAYS_REFUSED, *refused}

    def find(self, value: str) -> ApiKey | None:
        if not value or value in self.refused:
            return None
        return self._keys.get(value) if self._keys else ApiKey(value, PERMISSIONS, self._contract)


def bearer(header: str) -> str | None:
    """The key in an Authorization header; None without the word Bearer, in any casing [8]."""
    scheme, _, value = header.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def redact(value: str) -> str:
    """Enough of a key to tell two apart in a log."""
    return f"…{value[-4:]}" if len(value) > 8 else "…"
