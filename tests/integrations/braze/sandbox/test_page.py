"""The page at / in a real browser."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from integrations.braze.sandbox import Limit, SandboxServer
from tests.integrations.braze.sandbox.client import TIME

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = "/usr/bin/chromium", shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,900"
).split()

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (Path(CHROMIUM).exists() and DRIVER), reason="needs /usr/bin/chromium and chromedriver"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(track_limit=Limit(0, 3.0)) as server:
        yield server


def track(sandbox: SandboxServer, key: str = "a-test-key", **arrays: Any) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    requests.post(f"{sandbox.url}/users/track", json=arrays, headers=headers, timeout=5)


def until(browser: Any, condition: Any) -> Any:
    return WebDriverWait(browser, 10, poll_frequency=0.05).until(lambda _: condition())


def text(browser: Any, selector: str) -> str:
    return str(browser.find_element(By.CSS_SELECTOR, selector).text)


def total(browser: Any, name: str) -> str:
    boxes = browser.find_elements(By.CSS_SELECTOR, "#totals div")
    found = [
        box.find_element(By.TAG_NAME, "dd").text for box in boxes if box.find_element(By.TAG_NAME, "dt").text == name
    ]
    return found[0] if found else ""


def test_it_shows_what_happens_without_a_reload(browser: Any, sandbox: SandboxServer) -> None:
    browser.get(sandbox.url)
    until(browser, lambda: text(browser, "#connection") == "live")
    assert "No request yet" in text(browser, "#log-empty")
    visit = {"external_id": "u", "name": "visit", "time": TIME}
    track(sandbox, attributes=[{"external_id": "u", "a": 1}, {"a": 2}], events=[visit])
    track(sandbox, key="invalid")
    sandbox.faults.add(status=503)
    track(sandbox)
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "tr.entry")) == 3)
    rows = [row.text.replace("\n", " ") for row in browser.find_elements(By.CSS_SELECTOR, "tr.entry")]
    assert [row.split()[0] for row in rows] == ["3", "2", "1"], "newest first"
    assert "503 status 503" in rows[0]
    assert "401" in rows[1]
    assert "POST track 2 attributes, 1 event 201 1 rejected" in rows[2]
    assert (total(browser, "Profiles"), total(browser, "Rejected objects")) == ("1", "1")


def test_it_finds_a_profile_and_follows_it(browser: Any, sandbox: SandboxServer) -> None:
    sale = {"external_id": "ann-1", "product_id": "mug", "currency": "USD", "price": 1234.5, "time": TIME}
    track(
        sandbox,
        attributes=[{"external_id": one, "plan": "gold"} for one in ("ann-1", "ann-2", "bob")],
        purchases=[sale],
    )
    browser.get(sandbox.url)
    browser.find_element(By.ID, "prefix").send_keys("ann")
    until(browser, lambda: text(browser, "#matches").split() == ["ann-1", "ann-2"])
    browser.find_element(By.CSS_SELECTOR, "#matches button").click()
    until(browser, lambda: "Revenue 1,234.50 USD" in text(browser, "#profile"))
    assert "plan gold" in text(browser, "#profile").replace("\n", " ")
    assert "1 × 1234.5 USD" in text(browser, "#profile")
    track(
        sandbox, events=[{"external_id": "ann-1", "name": "<b>visit</b>", "time": TIME, "properties": {"store": "<i>"}}]
    )
    until(browser, lambda: "<b>visit</b>" in text(browser, "#profile"))
    assert not browser.find_elements(By.CSS_SELECTOR, "#profile b, #profile i"), "what came from outside is only text"


def test_it_fits_a_phone(browser: Any, sandbox: SandboxServer) -> None:
    track(sandbox, attributes=[{"external_id": "a-very-long-external-id-" * 8, "note": "w" * 255}])
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        browser.get(sandbox.url)
        until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#matches button"))
        browser.find_element(By.CSS_SELECTOR, "#matches button").click()
        until(browser, lambda: "www" in text(browser, "#profile"))
        assert browser.execute_script("return document.documentElement.scrollWidth") == 360
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_stays_usable_with_100_000_profiles(browser: Any, sandbox: SandboxServer) -> None:
    def fill() -> None:
        for number in range(100_000):
            sandbox.state.profiles.create({"external_id": f"customer-{number:06d}"}, 0.0)

    sandbox.call(fill)
    browser.get(sandbox.url)
    until(browser, lambda: total(browser, "Profiles") == "100,000")
    browser.find_element(By.ID, "prefix").send_keys("customer-09999")
    until(browser, lambda: len(text(browser, "#matches").split()) == 10)
    answers = [requests.get(f"{sandbox.url}/control/profiles?prefix=nobody", timeout=30) for _ in range(5)]
    assert min(answer.elapsed.total_seconds() for answer in answers) < 0.5


def test_it_asks_no_other_address_and_reports_no_error(browser: Any, sandbox: SandboxServer) -> None:
    browser.get("about:blank")  # the browser's own first page asks for addresses of its own
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(sandbox.url)
    until(browser, lambda: text(browser, "#connection") == "live")
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {f"{sandbox.url}/", f"{sandbox.url}/page/app.js", f"{sandbox.url}/control/summary"} <= asked
    assert {url for url in asked if not url.startswith((sandbox.url, "data:"))} == set()
    assert browser.get_log("browser") == []


def test_it_says_when_the_sandbox_is_gone(browser: Any) -> None:
    with SandboxServer() as server:
        browser.get(server.url)
        until(browser, lambda: text(browser, "#connection") == "live")
    until(browser, lambda: "does not answer" in text(browser, "#connection"))
