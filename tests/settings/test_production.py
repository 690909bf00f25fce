"""Production does not start on a missing or a default secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parents[2]

COMPLETE = {
    "SECRET_KEY": "Zq8-1mVw0sLkT5xYb2Nc7RfJh4GdPu9EaXo3IiUyTr6WvQeMnB",
    "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "DATABASE_URL": "postgres://user:password@db.example/masivo",
    "REDIS_URL": "redis://redis.example:6379/0",
    "ALLOWED_HOSTS": "masivo.example",
}


def start(shown: str = "ALLOWED_HOSTS", **changes: str) -> "subprocess.CompletedProcess[str]":
    """Import the production settings in a process of its own, with `COMPLETE` changed."""
    env = {"PATH": os.environ["PATH"], **COMPLETE, **changes}
    code = f"import settings.production as s; print(s.{shown}, s.DEBUG, s.CELERY_BROKER_URL)"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_it_starts_with_everything_set() -> None:
    done = start()
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["['masivo.example']", "False", COMPLETE["REDIS_URL"]]


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_it_names_what_is_missing(name: str) -> None:
    done = start(**{name: ""})
    assert done.returncode != 0
    assert f"Production needs the environment variable {name}." in done.stderr


@pytest.mark.parametrize("secret", ["secret", "x" * 60, "django-insecure-" + COMPLETE["SECRET_KEY"]])
def test_it_refuses_a_secret_key_that_looks_like_a_default(secret: str) -> None:
    done = start(SECRET_KEY=secret)
    assert done.returncode != 0
    assert "SECRET_KEY looks like a default" in done.stderr


def test_it_names_an_encryption_key_that_is_none_without_showing_it() -> None:
    done = start(FIELD_ENCRYPTION_KEYS=f"{COMPLETE['FIELD_ENCRYPTION_KEYS']},not-a-fernet-key")
    assert done.returncode != 0
    assert "FIELD_ENCRYPTION_KEYS: key 2 is not a Fernet key" in done.stderr
    assert "not-a-fernet-key" not in done.stderr


def test_it_runs_on_postgresql_only() -> None:
    done = start(DATABASE_URL="sqlite:///db.sqlite3")
    assert done.returncode != 0
    assert "production runs on PostgreSQL" in done.stderr


@pytest.mark.parametrize(("value", "is_allowed"), [(None, "True"), ("true", "True"), ("false", "False")])
def test_calls_to_braze_itself_are_on_unless_they_are_switched_off(value: str | None, is_allowed: str) -> None:
    done = start("BRAZE_ALLOW_REAL_HOSTS", **({"BRAZE_ALLOW_REAL_HOSTS": value} if value else {}))
    assert done.stdout.split()[0] == is_allowed, done.stderr
