"""The environment that the project's processes are started with."""

import os
import secrets
import sys
from pathlib import Path

from cryptography.fernet import Fernet

#: What a developer's shell may have set for other purposes and a stack of its own must not inherit.
PROJECT_VARIABLES = (
    "CELERY_BROKER_URL",
    "DATABASE_URL",
    "REDIS_URL",
    "BRAZE_ALLOW_REAL_HOSTS",
    "BRAZE_EXTRA_ENDPOINTS",
    "PYTEST_XDIST_WORKER",
    "VAR_DIR",
)


def inherited() -> dict[str, str]:
    """This process' environment, with its own Python's programs first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def isolated(directory: Path, database_url: str | None, redis_port: int, sandbox_url: str) -> dict[str, str]:
    """For a stack that shares nothing with any other: all state under `directory`, fresh secrets."""
    env = {name: value for name, value in inherited().items() if name not in PROJECT_VARIABLES}
    return env | {
        "DJANGO_SETTINGS_MODULE": "settings.local",
        "VAR_DIR": str(directory),
        "DATABASE_URL": database_url or f"sqlite:///{directory / 'db.sqlite3'}",
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "BRAZE_EXTRA_ENDPOINTS": sandbox_url,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "DEBUG": "false",
    }
