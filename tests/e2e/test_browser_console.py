"""The console's data pages in a real browser, at a desk and on a phone: what marketing asks, and what operators do."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User

from integrations.braze.models import BrazeSettings, BrazeState
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine
from tests.e2e.test_browser_failed import Browser, Select, browser, chromium, failed, pytestmark, statuses  # noqa: F401
from tests.integrations.braze.conftest import account, braze, longest_backoff, sync  # noqa: F401

ADA = "ada-with-a-rather-long-id-0123456789-0123456789"
Failed = dict[str, OutboxEntry]


@pytest.fixture(autouse=True)
def without_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test moves the changes along itself."""
    monkeypatch.setattr("integrations.outbox.nudge.publish", lambda account_id: None)


def now(browser: Browser, selector: str) -> str:  # noqa: F811
    """The text of what is replaced every two seconds: found and read at once."""
    return str(browser.driver.execute_script("return document.querySelector(arguments[0]).innerText", selector))


def test_the_health_page_refreshes_itself(browser: Browser, failed: Failed, account: Account) -> None:  # noqa: F811
    browser.open("/admin/braze/accounthealth/shop/")
    assert now(browser, "#state") == "healthy"
    browser.looks_right("health")
    browser.driver.execute_script("window.kept = true; document.getElementById('to-requests').focus()")
    old = database_now() - timedelta(minutes=5)
    OutboxEntry.objects.bulk_create(
        OutboxEntry(account=account, integration="braze", kind="event", customer_external_id="x", created_at=old)
        for _ in range(1_234)
    )
    browser.until(lambda: "1,234 waiting" in now(browser, "#state"))
    assert now(browser, "#waiting") == "1,234"
    assert browser.driver.execute_script("return window.kept && document.activeElement.id") == "to-requests"
    browser.looks_right("health-standing-still")


#: A server that takes a question and never answers it, and a clock on which time-outs are short.
SILENT = """
const timeout = AbortSignal.timeout;
AbortSignal.timeout = (milliseconds) => timeout.call(AbortSignal, milliseconds / 100);
window.fetch = (_, { signal }) => new Promise((_, refuse) => signal?.addEventListener("abort", refuse));
"""


def test_the_health_page_says_so_when_the_server_takes_the_question_and_does_not_answer(
    browser: Browser,  # noqa: F811
    failed: Failed,  # noqa: F811
) -> None:
    """The last state stayed on the page for as long as the connection did, as if nothing had changed since."""
    browser.open("/admin/braze/accounthealth/shop/")
    browser.driver.execute_script(SILENT)
    browser.until(lambda: "the server does not answer" in now(browser, "#fresh"))


#: Of each chart: the colours that its datasets have, and those that are drawn.
DRAWN = """return ['objects', 'failures'].map((id) => Chart.getChart(id)).map((chart) => chart.data.datasets.map(
    (set, index) => [set.backgroundColor, chart.getDatasetMeta(index).dataset?.options.backgroundColor
        ?? chart.getDatasetMeta(index).data[0].options.backgroundColor]))"""


def test_charts_are_drawn_in_the_colours_of_their_legend_by_light_and_dark(browser: Browser, failed: Failed) -> None:  # noqa: F811
    browser.open("/admin/braze/accounthealth/shop/")
    light = browser.driver.execute_script(DRAWN)
    assert [pair for chart in light for pair in chart if pair[0] != pair[1] or not pair[0]] == []
    browser.driver.execute_script("localStorage.setItem('_x_adminTheme', '\"dark\"')")
    browser.driver.execute_script("document.documentElement.classList.add('dark')")
    browser.until(lambda: browser.driver.execute_script(DRAWN) != light)
    dark = browser.driver.execute_script(DRAWN)
    assert [pair for chart in dark for pair in chart if pair[0] != pair[1] or not pair[0]] == []
    browser.driver.execute_script("localStorage.removeItem('_x_adminTheme')")


def test_a_person_pauses_and_resumes(browser: Browser, failed: Failed) -> None:  # noqa: F811
    browser.open("/admin/braze/accounthealth/shop/")
    assert not browser.find("[data-when=paused]").is_displayed()
    browser.find("#reason").send_keys("a campaign is being prepared")
    browser.click("#act form[data-when=running] button")
    assert "paused by admin: a campaign is being prepared" in now(browser, "#state")
    browser.looks_right("health-paused")
    browser.open("/admin/braze/accounthealth/")
    assert "a campaign is being prepared" in now(browser, "#accounts")
    browser.looks_right("health-all")
    browser.open("/admin/braze/accounthealth/shop/")
    browser.click("#act [data-when=paused]")
    assert now(browser, "#state") == "healthy"


def test_a_search_leads_to_the_timeline_and_to_braze(browser: Browser, failed: Failed) -> None:  # noqa: F811
    browser.open("/admin/braze/arrival/")
    browser.looks_right("search")
    browser.find("#q").send_keys("o1")
    browser.click("form[role=search] button")
    assert "may or may not have arrived" in browser.text("#timeline")
    assert "o1:1:1" in browser.text("#purchases")
    browser.looks_right("timeline-order")
    browser.click("#content p.prose-line a")
    assert ADA in browser.text("#content > h2")
    browser.click("#ask button")
    assert "a total revenue of 29.33 US dollars" in browser.text("#asked")
    assert "Paris" in browser.text("#attributes")
    browser.looks_right("timeline-asked")


def test_a_failed_sync_is_found_fixed_at_the_source_and_retried(
    browser: Browser,  # noqa: F811
    failed: Failed,  # noqa: F811
    sandbox: SandboxServer,
    sync: Callable[[], None],  # noqa: F811
) -> None:
    browser.open("/admin/braze/failedsync/")
    browser.looks_right("failed-by-reason")
    (link,) = [
        one for one in browser.driver.find_elements("css selector", "#reasons a") if "not one of this" in one.text
    ]
    browser.open(link.get_attribute("href").removeprefix(browser.base_url))
    assert "One reason only" in browser.text("#reasons")
    browser.open(f"/admin/loyalty/event/{failed['refused'].subject}/change/")
    name = browser.find("#id_type")
    name.clear()
    name.send_keys("ADD_TO_CART")
    browser.click("button[name=_save], input[name=_save]")
    assert Event.objects.get(pk=failed["refused"].subject).type == "ADD_TO_CART"
    browser.open(f"/admin/braze/failedsync/{failed['refused'].pk}/change/")
    browser.click("button[value=send_again]")
    sync()
    browser.open(f"/admin/braze/arrival/?q={failed['refused'].subject}")
    assert "Braze accepted the request" in browser.text("#timeline")
    assert "To be sent again, by admin" in browser.text("#timeline")
    browser.looks_right("timeline-retried")
    assert sandbox.summary()["events"] == 2


def test_an_unknown_purchase_is_resolved(browser: Browser, failed: Failed) -> None:  # noqa: F811
    browser.open("/admin/braze/accounthealth/shop/")
    browser.open(
        browser.driver.execute_script("return document.getElementById('to-unknown').href.replace(location.origin, '')")
    )
    browser.click(f"#result_list a[href*='/{failed['order'].pk}/']")
    browser.click("button[value=treat_as_delivered]")
    browser.click("#content form button")
    assert statuses() == {"delivered": 2, "unknown": 1, "rejected": 1}
    browser.open("/admin/braze/accounthealth/shop/")
    assert "unknown\t1" in now(browser, "#live .panels")


def test_the_other_pages_fit(browser: Browser, failed: Failed, account: Account) -> None:  # noqa: F811
    OutboxEntry.objects.bulk_create(
        OutboxEntry(
            account=account, integration="braze", kind="event", customer_external_id=ADA, status="skipped",
            error=f"switch {number % 3} is off", settled_at=database_now(),
        )
        for number in range(60)
    )  # fmt: skip
    BrazeState.objects.update(paused_at=database_now(), pause_kind="restored", pause_reason="Lost commits.")
    pages: dict[str, Any] = {
        "skipped": "/admin/braze/skippedsync/",
        "requests": "/admin/braze/delivery/",
        "request": f"/admin/braze/delivery/{failed['order'].batch}/change/",
        "health-restored": "/admin/braze/accounthealth/shop/?period=week",
        "search-nothing": "/admin/braze/arrival/?q=nobody",
        "timeline": f"/admin/braze/arrival/shop/?customer={ADA}",
        "person": f"/admin/auth/user/{User.objects.get(username='admin').pk}/change/",
        "group": "/admin/auth/group/add/",
    }
    for name, address in pages.items():
        browser.open(address)
        browser.looks_right(name)


def test_words_that_cannot_be_broken_are_broken(browser: Browser, failed: Failed, account: Account) -> None:  # noqa: F811
    """Ids of 64 digits, names and reasons without a space: each page keeps the width of the screen."""
    word = "0123456789abcdef" * 4
    account.name = f"Shop{word}"
    account.save()
    customer = Customer.objects.create(account=account, external_id=word, first_name=word)
    audience = Audience.objects.create(account=account, name=f"All{word}", audience_id=word)
    order = Order.objects.create(account=account, customer=customer, order_id=f"o{word}", status="FULFILLED")
    OrderLine.objects.create(order=order, sku=word, value="12")
    OutboxEntry.objects.filter(pk=failed["refused"].pk).update(customer_external_id=word, error=word * 80)
    settings = BrazeSettings.objects.get()
    by = User.objects.get(username="admin")
    LogEntry.objects.log_actions(by.pk, [settings], CHANGE, f"Paused: {word * 80}", single_object=True)
    BrazeState.objects.update(paused_at=database_now(), pause_kind="refused", pause_reason=word * 8)
    pages = {
        "long-timeline": f"/admin/braze/arrival/shop/?customer={word}",
        "long-timeline-order": f"/admin/braze/arrival/shop/?customer={word}&order=o{word}",
        "long-health": "/admin/braze/accounthealth/shop/",
        "long-health-all": "/admin/braze/accounthealth/",
        "long-settings": f"/admin/braze/brazesettings/{settings.pk}/change/",
        "long-resend": f"/admin/braze/brazesettings/{settings.pk}/resend/",
        "long-history": f"/admin/braze/brazesettings/{settings.pk}/history/",
        "long-failed": "/admin/braze/failedsync/",
        "long-failed-one": f"/admin/braze/failedsync/{failed['refused'].pk}/change/",
        "long-customer": f"/admin/loyalty/customer/{customer.pk}/change/",
        "long-customer-deleted": f"/admin/loyalty/customer/{customer.pk}/delete/",
        "long-customer-history": f"/admin/loyalty/customer/{customer.pk}/history/",
        "long-account-deleted": f"/admin/loyalty/account/{account.pk}/delete/",
        "long-audience-deleted": f"/admin/loyalty/audience/{audience.pk}/delete/",
        "long-order": f"/admin/loyalty/order/{order.pk}/change/",
    }
    wrong = []
    for name, address in pages.items():
        browser.open(address)
        try:
            browser.looks_right(name)
        except AssertionError as error:
            wrong.append(str(error).splitlines()[0])
    assert wrong == []
    browser.open(f"/admin/braze/failedsync/{failed['refused'].pk}/change/")
    browser.click("#decide form[action$='/ask/'] button")
    browser.looks_right("long-asked")
    browser.click("button[value=discard]")
    browser.looks_right("long-discard")


#: Fields, buttons and links, of which a screen reader would say nothing.
NAMELESS = """const pressed = document.querySelectorAll('#page a[href], #page button, #page input, #page select');
return [...pressed].filter((it) => {
    const labels = [...(it.labels ?? [])].map((label) => label.innerText).join('');
    const symbols = [...it.querySelectorAll('.material-symbols-outlined')].map((symbol) => symbol.textContent.trim());
    const words = symbols.reduce((text, symbol) => text.replace(symbol, ''), it.textContent).trim();
    return it.checkVisibility() && it.type !== 'hidden'
        && !(it.getAttribute('aria-label') || it.title || it.querySelector('[title]') || labels || words);
}).map((it) => it.outerHTML.slice(0, 150))"""


@pytest.mark.parametrize(
    "page",
    [
        "braze/failedsync/",
        "loyalty/customer/",
        "braze/accounthealth/",
        "braze/arrival/?q=o1",
        "loyalty/order/{}/change/",
    ],
)
def test_a_page_has_one_title_and_a_name_for_all_that_is_pressed(
    browser: Browser,  # noqa: F811
    failed: Failed,  # noqa: F811
    page: str,
) -> None:
    browser.open(f"/admin/{page.format(Order.objects.get().pk)}")
    browser.until(lambda: browser.driver.execute_script("return document.querySelectorAll('h1').length") == 1)
    assert browser.driver.execute_script(NAMELESS) == []


#: Buttons of a record's page that stand outside the card of their line.
OUTSIDE = """const buttons = document.querySelectorAll('fieldset button, .related-widget-wrapper > div');
return [...buttons].filter((button) => {
    const box = button.getBoundingClientRect();
    return box.width && box.right > button.closest('fieldset').getBoundingClientRect().right;
}).map((button) => button.outerHTML.slice(0, 200))"""


def test_the_buttons_of_an_order_stay_on_the_screen(browser: Browser, failed: Failed) -> None:  # noqa: F811
    order = Order.objects.get(order_id="o1")
    browser.open(f"/admin/loyalty/order/{order.pk}/change/")
    browser.looks_right("order")
    assert browser.driver.execute_script(OUTSIDE) == []
