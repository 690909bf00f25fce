"""What people with a keyboard, a screen reader or tired eyes need of the console, in a real browser."""

from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Order
from tests.e2e.test_browser_failed import Browser, browser, chromium, failed, pytestmark  # noqa: F401
from tests.integrations.braze.conftest import account, braze, longest_backoff, sync  # noqa: F401

#: What has the focus, and whether anything shows it: an outline, or a ring on it or around the box that it is in.
FOCUSED = """const it = document.activeElement, ring = (one) => {
    const style = getComputedStyle(one);
    return style.outlineStyle !== 'none' && style.outlineWidth !== '0px' || style.boxShadow !== 'none';
};
return [it.id || it.name || it.innerText, it === document.body || ring(it) || ring(it.parentElement)]"""


def test_whatever_has_the_focus_is_seen(browser: Browser, account: Account, braze: BrazeSettings) -> None:  # noqa: F811
    browser.open(f"/admin/braze/brazesettings/{braze.pk}/change/")
    passed = {}
    for _ in range(60):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        name, is_seen = browser.driver.execute_script(FOCUSED)
        passed[name] = is_seen
    assert {"id_is_enabled", "id_sync_events", "id_api_key"} <= passed.keys()
    assert [name for name, is_seen in passed.items() if not is_seen] == []


#: By what the person presses, what is then on the screen.
PRESSED = {
    "a[x-on\\:click^=filterOpen]": "#changelist-filter",  # the filters of a list
    ".cursor-pointer[x-on\\:click*=openUserLinks]": "nav[x-show=openUserLinks]",  # the way out, the theme
}


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE])
@pytest.mark.parametrize("pressed", PRESSED)
def test_what_a_mouse_opens_a_key_opens(
    browser: Browser,  # noqa: F811
    failed: dict[str, OutboxEntry],  # noqa: F811
    pressed: str,
    key: str,
) -> None:
    """By keyboard alone, nobody could filter a list, or log out."""
    browser.open("/admin/braze/failedsync/")
    if browser.screen == "phone" and "openUserLinks" in pressed:
        assert not browser.find(pressed).is_displayed()  # it is in the navigation, which the next test opens
        return
    opened = browser.find(PRESSED[pressed])
    assert not opened.is_displayed()
    browser.driver.execute_script(
        "const it = document.querySelector(arguments[0]); if (it.tabIndex === 0) it.focus()", pressed
    )
    ActionChains(browser.driver).send_keys(key).perform()
    browser.until(opened.is_displayed)


def test_the_navigation_is_there_and_opens_by_key_on_a_small_screen(
    browser: Browser,  # noqa: F811
    failed: dict[str, OutboxEntry],  # noqa: F811
) -> None:
    browser.open("/admin/braze/failedsync/")
    link = browser.find("a[href='/admin/braze/arrival/']")
    if browser.screen == "desktop":
        assert link.is_displayed()
        return
    assert not link.is_displayed()
    for _ in range(10):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        if browser.driver.execute_script("return document.activeElement.ariaLabel") == "Navigation":
            break
    ActionChains(browser.driver).send_keys(Keys.ENTER).perform()
    browser.until(link.is_displayed)


#: Words that have too little contrast to what is behind them, with their ratio (WCAG AA wants 4.5).
FAINT = """const canvas = document.createElement('canvas');
canvas.width = canvas.height = 1;
const brush = canvas.getContext('2d', { willReadFrequently: true });
const rgba = (colour) => {
    brush.clearRect(0, 0, 1, 1); brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
};
const over = (top, below) => top.map((part, i) => (part * top[3] + below[i] * (255 - top[3])) / 255);
const behind = (it) => {
    if (!it) return document.documentElement.classList.contains('dark') ? [0, 0, 0, 255] : [255, 255, 255, 255];
    const own = rgba(getComputedStyle(it).backgroundColor);
    return own[3] === 255 ? own : over(own, behind(it.parentElement));
};
const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
const ratio = (it) => {
    const ground = behind(it), both = [light(over(rgba(getComputedStyle(it).color), ground)), light(ground)];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
};
const kinds = ['a', 'span', 'p', 'td', 'th', 'label', 'button', 'h2'].map((kind) => `#page ${kind}`).join();
return [...document.querySelectorAll(kinds)]
    .filter((it) => it.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
    .filter((it) => [...it.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
    .filter((it) => !it.classList.contains('material-symbols-outlined') && ratio(it) < 4.5)
    .map((it) => `${it.innerText.slice(0, 30)} ${ratio(it).toFixed(2)}`)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["braze/failedsync/", "braze/accounthealth/shop/"])
def test_words_stand_out_from_what_is_behind_them(
    browser: Browser,  # noqa: F811
    failed: dict[str, OutboxEntry],  # noqa: F811
    account: Account,  # noqa: F811
    page: str,
    scheme: str,
) -> None:
    OutboxEntry.objects.bulk_create(
        OutboxEntry(account=account, integration="braze", kind="event", status="rejected", settled_at=database_now())
        for _ in range(60)
    )
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.open(f"/admin/{page}")
    assert browser.driver.execute_script(FAINT) == []


def test_a_long_id_leaves_the_other_columns_on_the_screen(
    browser: Browser,  # noqa: F811
    failed: dict[str, OutboxEntry],  # noqa: F811
) -> None:
    BrazePurchase.objects.filter(pk=BrazePurchase.objects.latest("pk").pk).update(purchase_id="0123456789" * 20)
    browser.open("/admin/braze/brazepurchase/")
    edges = "return [...document.querySelectorAll('#result_list td')].map((it) => it.getBoundingClientRect().right)"
    assert max(browser.driver.execute_script(edges)) <= browser.driver.execute_script("return window.innerWidth")


#: How many pixels are left beside the amount of the first line; the arrows of the field take twenty.
ROOM = """const it = document.querySelector('#id_lines-0-value'), style = getComputedStyle(it);
const brush = document.createElement('canvas').getContext('2d');
brush.font = style.font;
return it.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - 20
    - brush.measureText(it.value).width"""


def test_an_amount_of_a_line_is_seen_to_its_last_digit(
    browser: Browser,  # noqa: F811
    failed: dict[str, OutboxEntry],  # noqa: F811
) -> None:
    order = Order.objects.get(order_id="o1")
    order.lines.update(value="119990.0000")
    browser.open(f"/admin/loyalty/order/{order.pk}/change/")
    assert browser.driver.execute_script(ROOM) >= 0


def test_symbols_beside_words_are_not_read(browser: Browser, failed: Any) -> None:  # noqa: F811
    """A screen reader read them by their names: “monitor_heart Health”, “chevron_right”, “close_small”."""
    browser.open("/admin/braze/brazeprofile/")
    read = """return [...document.querySelectorAll('.material-symbols-outlined:not([aria-hidden=true])')]
        .filter((it) => it.checkVisibility() && !it.closest('[aria-label], [title]'))
        .map((it) => it.textContent.trim())"""
    assert browser.until(lambda: browser.driver.execute_script("return document.querySelectorAll('nav a').length"))
    assert browser.driver.execute_script(read) == []
