"""Ids and slugs that commands are given."""


def typed(argument: str) -> str:
    """The argument as UTF-8, whatever the locale says: without one, Python keeps bytes that no database would take."""
    return argument.encode(errors="surrogateescape").decode(errors="backslashreplace")
