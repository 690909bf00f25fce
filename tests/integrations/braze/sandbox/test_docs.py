"""docs/sandbox.md names the test that holds each rule; a name that leads nowhere would be a promise nobody checks."""

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = Path(__file__).parents[4] / "docs" / "sandbox.md"


def test_it_names_only_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT.read_text(encoding="utf-8")))
    written = {
        name for file in HERE.glob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text("utf-8"))
    }
    assert len(named) > 40
    assert named - written == set()


def test_it_names_every_counter_of_silent_drops_in_a_test() -> None:
    """Each rule that can drop something silently is one that a test has seen dropping."""
    package = Path(__file__).parents[4] / "integrations" / "braze" / "sandbox"
    code = "".join(file.read_text("utf-8") for file in package.glob("*.py"))
    rules = set(re.findall(r'drop(?:s|ped)\["(\w+)"', code)) | set(re.findall(r'_only\([^"\n]*"(\w+)"\)', code))
    tests = "".join(file.read_text("utf-8") for file in HERE.glob("test_*.py"))
    assert len(rules) > 15
    assert {rule for rule in rules if f'"{rule}"' not in tests} == set()
