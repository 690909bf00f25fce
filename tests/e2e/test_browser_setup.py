"""An account is set up in a real browser, and a viewer tries every page of another account."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from integrations.braze.models import BrazeSettings
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry, Subscription
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.console.two_accounts import SECRET, merchant, person
from tests.console.urls import addresses
from tests.e2e.test_browser_failed import Browser, By, Select, browser, chromium, pytestmark  # noqa: F401
from tests.integrations.braze.conftest import account, braze, sync  # noqa: F401

from selenium.webdriver.common.keys import Keys  # isort: skip  # behind the check that selenium is there

KEY = "9c1d4f7e-0000-4000-8000-5b6c7d8ea1b2"


@pytest.fixture
def workspaces(settings, redis_client) -> Iterator[tuple[str, str]]:
    """The addresses of another merchant's workspace, and of the one that knows the key."""
    with SandboxServer(keys=["somebody-else-s-key-0123"]) as other, SandboxServer(keys=[KEY]) as right:
        settings.BRAZE_EXTRA_ENDPOINTS = [other.url, right.url]
        yield other.url, right.url


def fill(browser: Browser, **typed: str) -> None:  # noqa: F811
    for name, value in typed.items():
        element = browser.find(f"[name={name}]")
        if element.tag_name == "select":
            Select(element).select_by_value(value)
        elif element.get_attribute("type") == "radio":
            press(browser, browser.find(f"[name={name}][value={value}]"))
        else:
            element.clear()
            element.send_keys(value)


def press(browser: Browser, element: Any) -> None:  # noqa: F811
    """In the middle of the screen, where nothing that stays at its edge covers it."""
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def choose_account(browser: Browser, name: str) -> None:  # noqa: F811
    browser.until(lambda: browser.find(".select2-selection").is_displayed())
    press(browser, browser.find(".select2-selection"))
    browser.until(lambda: browser.driver.find_elements(By.CSS_SELECTOR, ".select2-search__field"))
    browser.find(".select2-search__field").send_keys(name)
    browser.until(lambda: name in browser.text(".select2-results"))
    browser.find(".select2-search__field").send_keys(Keys.ENTER)


def test_a_first_set_up_goes_wrong_twice_and_then_right(
    browser: Browser,  # noqa: F811
    account: Account,  # noqa: F811
    workspaces: tuple[str, str],
) -> None:
    wrong, right = workspaces
    browser.open("/admin/braze/brazesettings/add/")
    choose_account(browser, "Shop")
    fill(browser, instance_choice=wrong, api_key="a-key-that-nobody-knows")
    assert not browser.find("[name=rest_endpoint]").is_displayed()
    browser.click("button[name=_test]")
    assert "Wrong key:" in browser.text("#main")
    assert "A key ending in “nows” is stored since" in browser.text()
    browser.looks_right("set-up-wrong-key")

    fill(browser, api_key=KEY)
    browser.click("button[name=_test]")
    assert "Say which workspace the new key or endpoint belongs to" in browser.text()
    browser.looks_right("set-up-whose-key")
    fill(browser, api_key=KEY, workspace="same")
    browser.click("button[name=_test]")
    assert f"The key is right, but the instance is not: {right} knows it" in browser.text("#main")

    fill(browser, instance_choice=right, workspace="another")
    browser.click("button[name=_test]")
    assert f"Connected to {right}. The key is valid and may send customers" in browser.text("#main")
    browser.looks_right("set-up-connected")
    assert KEY not in browser.source()
    saved = BrazeSettings.objects.get()
    assert (saved.account, saved.api_key, saved.rest_endpoint) == (account, KEY, right)


def test_another_host_is_typed_where_it_is_asked_for(browser: Browser, account: Account) -> None:  # noqa: F811
    BrazeSettings.objects.create(account=account)
    browser.open(f"/admin/braze/brazesettings/{BrazeSettings.objects.get().pk}/change/")
    fill(browser, instance_choice="other")
    browser.until(lambda: browser.find("[name=rest_endpoint]").is_displayed())
    fill(browser, rest_endpoint="https://rest.us-11.braze.com")
    browser.click("button[name=_continue]")
    assert BrazeSettings.objects.get().rest_endpoint == "https://rest.us-11.braze.com"
    assert browser.find("[name=rest_endpoint]").get_attribute("value") == "https://rest.us-11.braze.com"


def test_a_toggle_by_keyboard(
    browser: Browser,  # noqa: F811
    account: Account,  # noqa: F811
    braze: BrazeSettings,  # noqa: F811
    sync: Callable[[], None],  # noqa: F811
    sandbox: SandboxServer,
) -> None:
    ada = Customer.objects.create(account=account, external_id="Ada")
    browser.open(f"/admin/braze/brazesettings/{braze.pk}/change/")
    toggle = browser.find("#id_sync_events")
    assert toggle.is_selected()
    toggle.send_keys(Keys.SPACE)
    before = browser.find("html")
    browser.find("button[name=_continue]").send_keys(Keys.ENTER)
    browser.until(lambda: browser.find("html") != before)
    assert not browser.find("#id_sync_events").is_selected()
    assert not Subscription.objects.filter(topic="events").exists()
    Event.objects.create(account=account, customer=ada, type="VISIT")
    sync()
    assert sandbox.summary()["events"] == 0
    assert not OutboxEntry.objects.filter(kind="event").exists()


def test_a_customer_is_sent_again_from_their_page(
    browser: Browser,  # noqa: F811
    account: Account,  # noqa: F811
    braze: BrazeSettings,  # noqa: F811
    sync: Callable[[], None],  # noqa: F811
    sandbox: SandboxServer,
) -> None:
    ada = Customer.objects.create(account=account, external_id="Ada", first_name="Ada")
    sync()
    browser.open(f"/admin/loyalty/customer/{ada.pk}/change/")
    assert "healthy" in browser.text("#braze-beside")
    browser.looks_right("customer")
    browser.click("#braze-beside form button")
    assert "1 change was captured and is being sent" in browser.text("#main")
    sync()
    assert len(sandbox.requests()) == 2


# --- another account ------------------------------------------------------------------------------------

#: Asks for each URL as a page would, the form token included; their statuses.
ASK = """
const [urls, method, done] = arguments;
const token = document.querySelector('[name=csrfmiddlewaretoken]').value;
const form = () => method === 'POST' ? new URLSearchParams({csrfmiddlewaretoken: token}) : undefined;
const ask = url => fetch(url, {method, body: form(), redirect: 'manual'}).then(answer => answer.status);
Promise.all(urls.map(url => ask(url).then(status => [url, status]))).then(done);
"""


def test_a_viewer_of_one_account_is_refused_every_url_of_another(
    browser: Browser,  # noqa: F811
    client: Client,
) -> None:
    mine, own = merchant("visible")
    theirs, records = merchant(SECRET)
    member = person("somebody", "Operator", theirs)
    records |= {"auth_user": member.pk, "auth_group": member.groups.get().pk}
    client.force_login(person("viewer", "Viewer", mine))
    cookie = client.cookies[django_settings.SESSION_COOKIE_NAME].value
    browser.driver.add_cookie({"name": django_settings.SESSION_COOKIE_NAME, "value": cookie, "path": "/"})
    browser.open(f"/admin/loyalty/customer/{own['loyalty_customer']}/change/")
    assert "visible" in browser.source()
    others = {"account_id": theirs.pk, "slug": theirs.slug, "id": member.pk, "customer_id": records["loyalty_customer"]}
    found = addresses(records, others)
    urls = [address.url for address in found if address.names_a_record]
    assert len(urls) > 40
    for method, refusals in (("GET", {403, 404, 405}), ("POST", {403, 404})):
        answers = dict(browser.driver.execute_async_script(ASK, urls, method))
        assert {url: status for url, status in answers.items() if status not in refusals} == {}
