"""The README names every variable of the environment, and the operations page every command."""

import os
import re

from django.conf import settings

from dev.processes import ROOT

#: Of the settings, what only a developer's machine has.
DEVELOPERS = {"DEBUG", "SANDBOX_PORT", "VAR_DIR"}
READERS = (
    "number|whole_number|words|host_names|origins|endpoints|switch|text|web_address|log_level|_required"
    "|generated_secret|_redis_address"
)
READS = re.compile(rf'(?:{READERS})\(\s*"([A-Z_]+)"')


def test_the_readme_has_every_variable_that_the_settings_read() -> None:
    read = {name for file in (ROOT / "settings").glob("*.py") for name in READS.findall(file.read_text())}
    assert {"BRAZE_READY_BYTES", "SECRET_KEY", "STATIC_ROOT"} <= read
    section = (ROOT / "README.md").read_text().split("## Configuration")[1]
    rows = {name for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE) for name in re.findall("[A-Z_]+", row)}
    assert read - DEVELOPERS == rows


def test_the_readme_has_the_defaults_that_are_in_force() -> None:
    section = (ROOT / "README.md").read_text().split("## Configuration")[1]
    told = {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \|.*\| ([\d.]+) \|$", section, re.MULTILINE)}
    promised = {"BRAZE_RETENTION_DAYS": 30, "BRAZE_DELETE_AFTER_SECONDS": 5, "BRAZE_DELETE_SETTLES_SECONDS": 300}
    assert promised.items() <= told.items()
    in_force = {name: getattr(settings, name) for name in told if hasattr(settings, name) and name not in os.environ}
    assert in_force == {name: told[name] for name in in_force}


def test_the_operations_page_has_every_command() -> None:
    packages = (ROOT / "integrations", ROOT / "masivo_braze")
    commands = {file.stem for one in packages for file in one.glob("**/management/commands/*.py")} - {"__init__"}
    page = (ROOT / "docs" / "operations.md").read_text()
    assert set(re.findall(r"^\| `manage[.]py (\w+)", page, re.MULTILINE)) == commands
