"""A person decides about failed syncs in a real browser, at a desk and on a phone."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from integrations.braze.models import BrazeSettings, BrazeState
from integrations.braze.models.account import PauseKind
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.conftest import account, braze, longest_backoff, sync  # noqa: F401

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = "/usr/bin/chromium", shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
#: Width and height in CSS pixels.
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (Path(CHROMIUM).exists() and DRIVER), reason="needs /usr/bin/chromium and chromedriver"),
]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


#: Cells of a list that are lower than their text.
CUT = """return [...document.querySelectorAll('#result_list [data-label]')]
    .filter((cell) => cell.scrollHeight > cell.clientHeight + 2).map((cell) => cell.innerText)"""


class Browser:
    """A logged-in administrator's browser with a screen of some size."""

    def __init__(self, driver: Any, base_url: str, screen: str) -> None:
        self.driver, self.base_url, self.screen = driver, base_url, screen

    def open(self, path: str) -> None:
        self.driver.get(f"{self.base_url}{path}")

    def source(self) -> str:
        """The page's HTML; the driver has moments in which it has none."""
        return str(self.until(lambda: self.driver.page_source))

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "#content") -> str:
        return str(self.find(selector).text)

    def click(self, selector: str) -> None:
        """And wait for the page that follows."""
        before = self.find("html")
        element = self.find(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()
        self.until(lambda: self.find("html") != before)

    def until(self, condition: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, 10, poll_frequency=0.05).until(lambda _: condition())

    def looks_right(self, name: str) -> None:
        """Nothing is wider than the screen, and no script or style has failed."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.driver.save_screenshot(str(Path(folder) / f"{name}-{self.screen}.png"))
        width, visible = self.driver.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert width <= visible, f"{name} is {width} px wide on a screen of {visible}"
        assert self.driver.execute_script(CUT) == [], f"{name} cuts what a row says"
        severe = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert [message for message in severe if "favicon.ico" not in message] == []


@pytest.fixture(params=SCREENS)
def browser(request: pytest.FixtureRequest, chromium: Any, live_server: Any, admin_client: Client) -> Browser:
    width, height = SCREENS[request.param]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": request.param == "phone"}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    chromium.get(f"{live_server.url}/admin/login/")
    session = admin_client.cookies[django_settings.SESSION_COOKIE_NAME].value
    chromium.add_cookie({"name": django_settings.SESSION_COOKIE_NAME, "value": session, "path": "/"})
    return Browser(chromium, live_server.url, request.param)


@pytest.fixture
def failed(
    live_server: Any,
    account: Account,  # noqa: F811
    braze: BrazeSettings,  # noqa: F811
    sandbox: SandboxServer,
    sync: Callable[[], None],  # noqa: F811
) -> dict[str, OutboxEntry]:
    """An event and an order that are held, by kind, and a refused event."""
    BrazeSettings.objects.update(unknown_events="hold")
    ada = Customer.objects.create(
        account=account, external_id="ada-with-a-rather-long-id-0123456789-0123456789", first_name="Ada", city="Paris"
    )
    Event.objects.create(account=account, customer=ada, type="VISIT", data={"page": "/a/long/address" * 9})
    order = Order.objects.create(account=account, customer=ada, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=2, value="29.33")
    sandbox.faults.add(close="after", times=1)
    sync()
    BrazeState.objects.update(backoff_until=None)
    sync()
    bob = Customer.objects.create(account=account, external_id="bob")
    Event.objects.create(account=account, customer=bob, type="POISON")
    sandbox.faults.add(status=400, contains="POISON", message="The event's name is not one of this workspace")
    sync()
    sandbox.faults.clear()
    entries = OutboxEntry.objects.filter(status="unknown")
    return {entry.kind: entry for entry in entries} | {"refused": OutboxEntry.objects.get(status="rejected")}


def statuses() -> dict[str, int]:
    found = OutboxEntry.objects.exclude(kind__startswith="customer").values_list("status", flat=True)
    return {status: list(found).count(status) for status in found}


def test_a_person_decides_in_bulk(browser: Browser, failed: dict[str, OutboxEntry]) -> None:
    browser.open("/admin/braze/failedsync/")
    browser.looks_right("list")
    assert "The event's name is not one of this workspace" in browser.text()
    browser.find("#action-toggle").click()
    Select(browser.find("select[name=action]")).select_by_value("send_again")
    browser.click(".actions button[name=index]")
    assert "3 of them of unknown outcome" in browser.text()
    assert "inflates revenue for good" in browser.text()
    browser.looks_right("send-again")
    browser.click("#content form button")
    assert "4 changes to be sent again." in browser.text("#main")
    assert statuses() == {"pending": 4}


def test_whoever_decides_after_their_session_has_expired_reads_that_nothing_was_done(
    browser: Browser, failed: dict[str, OutboxEntry], admin_client: Client
) -> None:
    browser.open(f"/admin/braze/failedsync/{failed['order'].pk}/change/")
    browser.click("button[value=treat_as_delivered]")
    before = statuses()
    admin_client.logout()
    browser.click("#content form button")
    assert "Your session had expired: nothing was done." in browser.text("body")
    browser.looks_right("expired")
    assert statuses() == before


def test_a_person_looks_asks_braze_and_decides(browser: Browser, failed: dict[str, OutboxEntry]) -> None:
    browser.open(f"/admin/braze/failedsync/{failed['order'].pk}/change/")
    browser.looks_right("entry")
    assert '"product_id": "CD"' in browser.text()
    browser.click("#decide form[action$='/ask/'] button")
    assert "1 event, the last at" in browser.text("#asked")
    assert "total revenue of 29.33 US dollars" in browser.text()
    assert "Paris" in browser.text("#attributes")
    browser.looks_right("asked")
    browser.click("button[value=treat_as_delivered]")
    browser.looks_right("treat-as-delivered")
    browser.click("#content form button")
    assert "1 change treated as delivered, and 1 more of the same orders with them." in browser.text("#main")
    assert statuses() == {"delivered": 2, "unknown": 1, "rejected": 1}


def test_a_person_says_which_purchases_have_not_arrived(browser: Browser, failed: dict[str, OutboxEntry]) -> None:
    browser.open(f"/admin/braze/failedsync/{failed['order'].pk}/change/")
    browser.click("button[value=treat_as_delivered]")
    browser.looks_right("arrived-in-part")
    browser.find("input[name=arrived]").click()
    browser.click("#content form button")
    assert "1 change has purchases that did not arrive" in browser.text("#main")
    assert statuses() == {"unknown": 3, "rejected": 1}


def test_a_person_discards_with_a_reason(browser: Browser, failed: dict[str, OutboxEntry]) -> None:
    browser.open(f"/admin/braze/failedsync/{failed['refused'].pk}/change/")
    browser.looks_right("refused")
    browser.click("button[value=discard]")
    browser.looks_right("discard")
    browser.find("#reason").send_keys("a test")
    browser.click("#content form button")
    assert "1 change discarded." in browser.text("#main")
    assert statuses() == {"discarded": 1, "unknown": 3}
    browser.open(f"/admin/outbox/outboxentry/{failed['refused'].pk}/history/")
    assert "Discarded: a test" in browser.text()


def test_the_page_says_why_braze_cannot_be_asked(
    browser: Browser, failed: dict[str, OutboxEntry], sandbox: SandboxServer
) -> None:
    sandbox.faults.add(status=403, endpoint="export")
    browser.open(f"/admin/braze/failedsync/{failed['event'].pk}/change/")
    browser.click("#decide form[action$='/ask/'] button")
    assert "users.export.ids" in browser.text(".errornote")
    browser.looks_right("not-answered")


def test_the_settings_page_explains_a_restored_database(browser: Browser, failed: dict[str, OutboxEntry]) -> None:
    BrazeState.objects.update(paused_at=database_now(), pause_kind=PauseKind.RESTORED, pause_reason="Lost commits.")
    browser.open(f"/admin/braze/brazesettings/{BrazeSettings.objects.get().pk}/change/")
    assert "python manage.py braze_restored --account shop --since" in browser.text()
    browser.looks_right("restored")
