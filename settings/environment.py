"""The one reader of the environment, and the files under `var/` that stand in for it on a laptop."""

import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from redis.connection import parse_url

N = TypeVar("N", int, float)

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()


def text(name: str, default: str = "") -> str:
    """The environment's value of `name`, else `default`; empty counts as not set.

    Not by `env`, which takes a value that begins with a dollar sign for the name of another variable.
    """
    return os.environ.get(name, "").strip() or default


#: State of a development machine: database, embedded Redis, generated secrets. Never committed.
VAR_DIR = Path(text("VAR_DIR", str(BASE_DIR / "var")))

#: Used if no embedded Redis has been started: a closed port, so that connections are clearly refused.
NO_REDIS_URL = "redis://127.0.0.1:6390/0"

#: The sandbox's port under `make run`, unless another was asked for.
SANDBOX_PORT = 8010


ON = frozenset({"true", "on", "ok", "yes", "y", "1"})
OFF = frozenset({"false", "off", "no", "n", "0"})

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

#: Variables without which production does not start.
REQUIRED = ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL", "ALLOWED_HOSTS")


def is_of_production() -> bool:
    """Whether everything that production requires is set, and the database is not SQLite."""
    values = {name: text(name) for name in REQUIRED}
    return all(values.values()) and not values["DATABASE_URL"].startswith("sqlite")


def words(name: str, default: Sequence[str] = ()) -> list[str]:
    """The comma-separated items of the environment's value of `name`, else `default`."""
    items = (item.strip() for item in text(name).split(","))
    return [item for item in items if item] or list(default)


def host_names(name: str, default: Sequence[str] = ()) -> list[str]:
    """Like `words`, for `ALLOWED_HOSTS`. Raises `ImproperlyConfigured` for what is no host of any request."""
    host = r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[\da-f:.]+\]"
    return _all_like(host, "admin.example.com", name, words(name, default))


def origins(name: str) -> list[str]:
    """Like `words`, for addresses as browsers send them: without a path, so the last slash of a copied one is left out.

    Raises `ImproperlyConfigured` for what is none.
    """
    return _all_like(r"https?://[^/]+", "https://admin.example.com", name, [url.rstrip("/") for url in words(name)])


def endpoints(name: str, default: Sequence[str] = ()) -> list[str]:
    """Like `words`, for base URLs. Raises `ImproperlyConfigured` for what could not be called."""
    return _all_like(r"https?://[^/].*", "https://sandbox.example.com", name, words(name, default))


def _all_like(pattern: str, example: str, name: str, items: list[str]) -> list[str]:
    for item in items:
        if not re.fullmatch(pattern, item, re.IGNORECASE):
            raise ImproperlyConfigured(f"{name} has to be like {example}, not “{item}”.")
    return items


def switch(name: str, *, default: bool) -> bool:
    """The environment's value of `name`, else `default`. Raises `ImproperlyConfigured` if it is neither on nor off."""
    value = text(name)
    if not value:
        return default
    if value.lower() not in ON | OFF:
        raise ImproperlyConfigured(f"{name} has to be true or false, not “{value}”.")
    return value.lower() in ON


def web_address(name: str) -> str:
    """The environment's value of `name`, or "". Raises `ImproperlyConfigured` if a browser could not open it."""
    if (url := text(name)) and not re.match(r"https?://[^/]", url):
        raise ImproperlyConfigured(f"{name} has to be like https://console.example.com, not “{url}”.")
    return url


def log_level(name: str) -> str:
    """The environment's value of `name` in capitals, else INFO. Raises `ImproperlyConfigured` if it is no level."""
    level = text(name, "INFO").upper()
    if level not in LOG_LEVELS:
        raise ImproperlyConfigured(f"{name} has to be one of {', '.join(LOG_LEVELS)}, not “{level}”.")
    return level


def number(name: str, default: float, least: float = 0, most: float = 1_000_000) -> float:
    """The environment's value of `name`, else `default`. Raises `ImproperlyConfigured` if it is not in range."""
    return _number(float, "a number", name, default, least, most)


def whole_number(name: str, default: int, least: int = 0, most: int = 1_000_000) -> int:
    """Like `number`, for whole numbers."""
    return _number(int, "a whole number", name, default, least, most)


def _number(parse: Callable[[str], N], kind: str, name: str, default: N, least: N, most: N) -> N:
    given = text(name)
    if not given:
        return default
    with suppress(ValueError):
        if least <= (value := parse(given)) <= most:
            return value
    raise ImproperlyConfigured(f"{name} has to be {kind} from {least} to {most}, not “{given}”.")


def redis_url() -> str:
    """`REDIS_URL`, else the embedded server's address as it was recorded under `var/`."""
    if url := _redis_address("REDIS_URL"):
        return url
    recorded = VAR_DIR / "redis.port"
    if not recorded.exists():
        return NO_REDIS_URL
    return f"redis://127.0.0.1:{recorded.read_text().strip()}/0"


def _redis_address(name: str) -> str:
    """The environment's value of `name`, or "".

    Raises `ImproperlyConfigured` for an invalid address, without showing it: it may hold a password.
    """
    url = text(name)
    if url and not _is_redis_url(url):
        raise ImproperlyConfigured(
            f"{name} has to be redis://:password@host:6379/0, rediss://… for TLS, or unix://path. Special characters "
            "of a password are written as %2F, for instance. Sentinel and Cluster are not supported."
        )
    return url


def _is_redis_url(url: str) -> bool:
    """The client passes by a database that is no number, and a password's slash ends the host."""
    try:
        parts = urlsplit(url)
        is_port = parts.port is None or parts.port > 0
        parse_url(url)  # type: ignore[no-untyped-call]  # as the client does when it connects
    except ValueError:  # its message contains a part of the address
        return False
    if parts.scheme == "unix":
        return bool(parts.path)
    has_database = not parts.path.strip("/") or parts.path.strip("/").isdecimal()
    return bool(parts.hostname) and is_port and has_database


def broker_url(redis_url: str) -> str:
    """`CELERY_BROKER_URL`, else Redis' address, as Celery writes it. TLS verifies the certificate unless told not to.

    Celery on its own would not verify it, does not know `unix`, and takes no database from the parameters.
    """
    parts = urlsplit(_redis_address("CELERY_BROKER_URL") or redis_url)
    options = dict(parse_qsl(parts.query))
    database = options.pop("db", "")
    if parts.scheme == "unix":
        return f"redis+socket://{_userinfo(parts, options)}{parts.path}?virtual_host={database or 0}"
    if parts.scheme == "rediss" and not any(name.startswith("ssl_") for name in options):
        options["ssl_cert_reqs"] = "required"
    path = f"/{database}" if database else parts.path
    return urlunsplit(parts._replace(path=path, query=urlencode(options, safe="/")))


def _userinfo(parts: SplitResult, options: Mapping[str, str]) -> str:
    """`user:password@`, of which a socket's address may have either among its parameters."""
    user = parts.username or quote(options.get("username", ""), safe="")
    password = parts.password or quote(options.get("password", ""), safe="")
    return f"{user}:{password}@" if user or password else ""


def sandbox_port() -> int:
    """`SANDBOX_PORT`, else the port that the last `make run` recorded under `var/`, else the default."""
    recorded = VAR_DIR / "sandbox.port"
    usual = int(recorded.read_text()) if recorded.exists() else SANDBOX_PORT
    return whole_number("SANDBOX_PORT", usual, most=65_535)


def generated_secret(name: str, generate: Callable[[], str]) -> str:
    """The environment's value of `name`, else one generated once into `var/` and shared by all processes."""
    value = text(name)
    if value:
        return value
    path = VAR_DIR / f"{name.lower()}.secret"
    if not path.exists():
        _write_once(path, generate())
    return path.read_text().strip()


def _write_once(path: Path, value: str) -> None:
    """Create `path` (mode 0600) with `value`, unless another process was first. Nobody sees it half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(value)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def secret_key() -> str:
    return secrets.token_urlsafe(50)


def fernet_key() -> str:
    return Fernet.generate_key().decode()
