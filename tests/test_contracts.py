"""The import contracts of pyproject.toml cover what is there now."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Not of the sending side: the sandbox itself, and what has no code of its own to share.
EXEMPT = {"sandbox", "management", "migrations", "templates", "__pycache__"}


def test_the_sandbox_may_import_nothing_of_the_sending_side() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each.get("source_modules") == ["integrations.braze.sandbox"]]
    folder = ROOT / "integrations" / "braze"
    modules = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    modules |= {path.name for path in folder.iterdir() if path.is_dir()} - EXEMPT
    forbidden = {name.rpartition(".")[2] for name in contract["forbidden_modules"] if ".braze." in name}
    assert modules == forbidden
