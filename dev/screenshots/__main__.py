"""Starts the admin over the sample shop, and photographs each page in Chromium."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By

from dev.first_run import LOGIN, PASSWORD
from dev.processes import ROOT
from dev.screenshots.pages import PAGES, SCROLLED
from dev.stack import Stack

FOLDER = ROOT / "docs" / "screenshots"
CHROMIUM, DRIVER = "/usr/bin/chromium", shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --force-color-profile=srgb"
).split()
#: Width and height in CSS pixels.
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
MISSING = "Chromium and its driver are needed. On Debian and Ubuntu: apt-get install chromium chromium-driver"


def main() -> None:
    """All pages, or those named on the command line."""
    if not (Path(CHROMIUM).exists() and DRIVER):
        sys.exit(MISSING)
    chosen = {name: PAGES[name] for name in sys.argv[1:] or PAGES}
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.manage("migrate", "--verbosity", "0")
        keys = json.loads(stack.run(sys.executable, "-m", "dev.screenshots.shop").splitlines()[-1])
        # So that the settings read as they would in production; no worker runs, so nothing is ever called.
        stack.env |= {"BRAZE_ALLOW_REAL_HOSTS": "true", "DEBUG": "true"}  # static files without collecting them
        url = stack.start_web()
        with browser(Path(folder)) as driver:
            log_in(driver, url)
            for name, path in chosen.items():
                photograph(driver, f"{url}{path.format(**keys)}", name)


@contextmanager
def browser(folder: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={folder / 'chromium'}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def log_in(driver: Any, url: str) -> None:
    driver.get(f"{url}/admin/login/?next=/admin/")
    driver.find_element(By.NAME, "username").send_keys(LOGIN)
    driver.find_element(By.NAME, "password").send_keys(PASSWORD)
    driver.find_element(By.CSS_SELECTOR, "#login-form button").click()


def photograph(driver: Any, url: str, name: str) -> None:
    """The page at each width, light and dark: `<name>-<screen>-<light or dark>.png`."""
    for screen, (width, height) in SCREENS.items():
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": screen == "phone"}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for scheme in ("light", "dark"):
            media = [
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
            driver.get(url)
            if name in SCROLLED:
                driver.execute_script(f"document.querySelector('{SCROLLED[name]}').scrollIntoView({{block: 'center'}})")
            driver.execute_async_script("document.fonts.ready.then(arguments[0])")
            driver.save_screenshot(str(FOLDER / f"{name}-{screen}-{scheme}.png"))
    print(name, flush=True)


if __name__ == "__main__":
    main()
