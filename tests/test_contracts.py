"""Lists that name places in the code still find them, and migrations have followed the models."""

import re
import tomllib
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.e2e.harness.sabotage import SABOTAGES

ROOT = Path(__file__).resolve().parent.parent
#: Not of the sending side: the sandbox itself, and what has no code of its own to share.
EXEMPT = {"sandbox", "management", "migrations", "static", "templates", "__pycache__"}


def test_the_sandbox_may_import_nothing_of_the_sending_side() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each.get("source_modules") == ["integrations.braze.sandbox"]]
    folder = ROOT / "integrations" / "braze"
    modules = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    modules |= {path.name for path in folder.iterdir() if path.is_dir()} - EXEMPT
    forbidden = {name.rpartition(".")[2] for name in contract["forbidden_modules"] if ".braze." in name}
    assert modules == forbidden


def test_every_sabotage_finds_its_place() -> None:
    """One whose text is gone would break nothing, and so prove nothing."""
    edits = [edit for edits in SABOTAGES.values() for edit in edits]
    found = {(edit.path, edit.old): (ROOT / edit.path).read_text().count(edit.old) for edit in edits}
    assert len(SABOTAGES) == 10
    assert set(found.values()) == {1}, found


@pytest.mark.django_db
def test_every_model_has_its_migrations() -> None:
    """What a model says and no migration does is missing in production alone: nothing else tells."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_docs_name_files_that_are_there() -> None:
    """By their whole path, or by its end: `delivery/flush.py`, `flush.py`."""
    places = ("integrations", "masivo_braze", "settings", "dev", "benchmarks", "tests")
    files = ["/manage.py", *(f"/{path.relative_to(ROOT)}" for each in places for path in (ROOT / each).rglob("*.*"))]
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {(page.name, name) for page in pages for name in re.findall(r"`([\w/.]+\.(?:py|lua))`", page.read_text())}
    assert len(named) > 50
    assert {(page, name) for page, name in named if not any(file.endswith(f"/{name}") for file in files)} == set()
