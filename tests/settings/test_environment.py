"""Where a laptop's secrets and its Redis come from, and which settings `manage.py` takes."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from settings import environment
from tests.settings.test_production import COMPLETE, ROOT


@pytest.fixture(autouse=True)
def var_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REDIS_URL", "SECRET_KEY", "SANDBOX_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment, "VAR_DIR", tmp_path / "var")
    return tmp_path / "var"


def test_it_generates_a_secret_once_readable_by_its_owner_alone(var_dir: Path) -> None:
    first = environment.generated_secret("SECRET_KEY", environment.secret_key)
    assert len(first) >= 50
    assert environment.generated_secret("SECRET_KEY", environment.secret_key) == first
    assert stat.S_IMODE((var_dir / "secret_key.secret").stat().st_mode) == 0o600
    assert [path.name for path in var_dir.iterdir()] == ["secret_key.secret"]


def test_it_gives_all_who_start_at_once_the_same_secret() -> None:
    barrier = Barrier(8)

    def generate() -> str:
        barrier.wait(10)  # all have found none, before any has written its own
        return environment.secret_key()

    with ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(lambda _: environment.generated_secret("SECRET_KEY", generate), range(8)))
    assert len(set(secrets)) == 1


def test_it_takes_a_secret_from_the_environment_first(var_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "from outside")
    assert environment.generated_secret("SECRET_KEY", environment.secret_key) == "from outside"
    assert not var_dir.exists()


def test_it_finds_the_embedded_redis_where_its_port_is_recorded(var_dir: Path) -> None:
    var_dir.mkdir()
    (var_dir / "redis.port").write_text("45678\n")
    assert environment.redis_url() == "redis://127.0.0.1:45678/0"


def test_it_takes_redis_url_first(var_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    var_dir.mkdir()
    (var_dir / "redis.port").write_text("45678\n")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere/1")
    assert environment.redis_url() == "redis://elsewhere/1"


def test_it_finds_the_sandbox_where_its_port_is_recorded(var_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.sandbox_port() == 8010
    var_dir.mkdir()
    (var_dir / "sandbox.port").write_text("45679\n")
    assert environment.sandbox_port() == 45679
    monkeypatch.setenv("SANDBOX_PORT", "45680")
    assert environment.sandbox_port() == 45680


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_an_environment_of_production_is_known(production: pytest.MonkeyPatch) -> None:
    assert environment.is_of_production()


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_it_is_not_one_where_anything_that_production_demands_is_missing(
    production: pytest.MonkeyPatch, name: str
) -> None:
    production.setenv(name, " ")
    assert not environment.is_of_production()


def test_it_is_not_one_on_sqlite(production: pytest.MonkeyPatch) -> None:
    production.setenv("DATABASE_URL", "sqlite:////tmp/db.sqlite3")
    assert not environment.is_of_production()


@pytest.mark.parametrize(
    ("given", "hints"),
    [({**COMPLETE}, 1), ({}, 0), ({**COMPLETE, "DJANGO_SETTINGS_MODULE": "settings.local"}, 0)],
    ids=["a server's", "a laptop's", "told"],
)
def test_manage_py_says_so_where_it_takes_a_laptops_settings_on_a_server(
    tmp_path: Path, given: dict[str, str], hints: int
) -> None:
    command = [sys.executable, "manage.py", "diffsettings", "--all"]
    env = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path), **given}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "SETTINGS_MODULE = 'settings.local'" in done.stdout
    assert done.stderr.count("DJANGO_SETTINGS_MODULE=settings.production") == hints


def test_it_starts_no_redis_and_writes_nothing_when_none_is_recorded(var_dir: Path) -> None:
    assert environment.redis_url() == environment.NO_REDIS_URL
    assert not var_dir.exists()


def test_manage_py_prints_what_the_console_cannot_show_as_in_json() -> None:
    """A customer's name with an accent ended the command with a traceback."""
    code = r"print('Ana Pe\u00f1a \U0001f600')"
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", code]
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Ana Pe\\u00f1a \\ud83d\\ude00\n"), done.stderr
