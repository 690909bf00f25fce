"""The surroundings of a test session, set before Django reads its settings: loaded early, by `-p` in pyproject.toml.

A session (and each worker of pytest-xdist) has a Redis, secrets and a `var` directory of its own, so that no test
reads or empties what a developer works with. `TEST_REDIS_URL` names a server to use instead of the embedded one, in
one process; its database is flushed.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from dev.ports import free_port
from dev.processes import spawn, stop
from dev.redis_server import answers_ping, server_command
from dev.waiting import wait_until

_server: subprocess.Popen[bytes] | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before pytest-django's own hook, which imports the settings."""
    for name in ("CELERY_BROKER_URL", "BRAZE_ALLOW_REAL_HOSTS", "BRAZE_EXTRA_ENDPOINTS", "DJANGO_SETTINGS_MODULE"):
        os.environ.pop(name, None)
    os.environ["VAR_DIR"] = tempfile.mkdtemp(prefix="masivo-tests-")
    os.environ["SECRET_KEY"] = secrets.token_urlsafe(50)
    os.environ["FIELD_ENCRYPTION_KEYS"] = Fernet.generate_key().decode()
    os.environ["REDIS_URL"] = os.environ.get("TEST_REDIS_URL") or _start_redis()


def pytest_unconfigure() -> None:
    global _server
    if _server:
        stop([_server])
        _server = None
    shutil.rmtree(os.environ["VAR_DIR"], ignore_errors=True)


def _start_redis() -> str:
    global _server
    port = free_port()
    with (Path(os.environ["VAR_DIR"]) / "redis.log").open("wb") as log:
        _server = spawn(server_command(port, directory=None), os.environ, log)
    wait_until(lambda: answers_ping(port), "the tests' Redis", timeout=10)
    return f"redis://127.0.0.1:{port}/0"
