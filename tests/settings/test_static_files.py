"""After the Procfile's release, production's pages have their style sheets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dev.processes import ROOT, read_procfile
from tests.settings.test_production import COMPLETE

VISIT = """
import json, re
from django.core.wsgi import get_wsgi_application
get_wsgi_application()
from django.conf import settings
from django.test import Client
client = Client(headers={"host": settings.ALLOWED_HOSTS[0], "x-forwarded-proto": "https"})
page = client.get("/admin/login/")
sheets = re.findall(r'<link href="([^"]+[.]css)"', page.content.decode())
print(json.dumps([page.status_code, {sheet: client.get(sheet).status_code for sheet in sheets}]))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "STATIC_ROOT": str(tmp_path / "static"), **COMPLETE}


def steps_without_a_database() -> list[str]:
    steps = [step.strip() for step in read_procfile(ROOT / "Procfile")["release"].split("&&")]
    return [step for step in steps if " migrate " not in step]


def test_the_login_page_is_there_with_its_style_sheets(environment: dict[str, str]) -> None:
    for step in steps_without_a_database():
        subprocess.run(["sh", "-c", step], cwd=ROOT, env=environment, check=True, capture_output=True)
    settings = {"DJANGO_SETTINGS_MODULE": "settings.production"}
    visit = [sys.executable, "-c", VISIT]
    done = subprocess.run(visit, cwd=ROOT, env=environment | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    status, sheets = json.loads(done.stdout.splitlines()[-1])
    assert status == 200
    assert sheets and set(sheets.values()) == {200}, sheets
