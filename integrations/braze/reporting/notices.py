"""Tells an account's members by mail that it was paused, and of the first rejection of a day: each cause once.

A periodic task looks for causes in the database, so no settlement waits for a mail, and a lost message is made up for
by the next run. A mail that cannot be sent is tried again a few times, and holds nothing up.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from smtplib import SMTPRecipientsRefused, SMTPResponseException
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db.models import F, Max, Q, QuerySet
from django.urls import reverse

from integrations.braze.delivery import readiness
from integrations.braze.integration import NAME, entries_of
from integrations.braze.models import BrazeSettings, BrazeState, Notice
from integrations.braze.models.account import PauseKind
from integrations.braze.models.notice import Topic
from integrations.outbox.clock import database_now, is_over
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account

logger = logging.getLogger(__name__)

#: Failures of one person's mail: a server that refuses it, and an address that no header can hold. Others' may go.
OF_ONE = (SMTPRecipientsRefused, SMTPResponseException, ValueError)
#: How long after a failure a mail is tried again, and how often in all; after that it is no longer news.
RETRY_AFTER = timedelta(minutes=5)
MOST_TRIES = 5
#: Kind of pause → what ends it.
REMEDIES: dict[str, str] = {
    PauseKind.REFUSED: "Remove the cause, then save the account's Braze settings: that ends this pause.",
    PauseKind.RESTORED: "Somebody with access to the server has to run `manage.py braze_restored`.",
}
#: Prefix of the cause of a pause by a person.
HELD = "held "
#: Rejections are counted up to this number.
COUNTED = 1_000


def find_causes() -> list[int]:
    """Record new causes; returns the ids of all notices that are to be sent now."""
    now = database_now()
    _note([*_pauses(), *_first_rejections(now)])
    return due(now)


def due(now: datetime | None = None) -> list[int]:
    """The ids of all notices that are to be sent now."""
    return list(_due(now or database_now()).values_list("pk", flat=True))


def send(notice_id: int) -> bool:
    """Mail one notice, unless another process has taken it or it was sent.

    Whether everybody has it by this call.
    """
    now = database_now()
    if not _due(now).filter(pk=notice_id).update(tries=F("tries") + 1, tried_at=now):
        return False
    notice = Notice.objects.select_related("account").get(pk=notice_id)
    people = notice.account.members.filter(is_active=True).exclude(email="").exclude(pk__in=notice.told)
    try:
        failed = _mail(notice, list(people.order_by("email").values_list("pk", "email")))
    except OSError as error:  # as smtplib's errors and time-outs are
        failed = [error]
    if failed:
        words = ", ".join(type(error).__name__ for error in failed)
        logger.warning("notice %s could not be mailed to everybody: %s", notice_id, words)
        return False
    Notice.objects.filter(pk=notice_id).update(sent_at=database_now())
    return True


# --- causes ---------------------------------------------------------------------------------------------


def _pauses() -> list[Notice]:
    """Notices for pauses after a refusal or a restore, and for those by people, which are independent."""
    found = []
    for field, kind in (("paused_at", ""), ("held_at", HELD)):
        paused = BrazeState.objects.filter(**{f"{field}__isnull": False}).values_list("account_id", field)
        found += [
            Notice(account_id=pk, topic=Topic.PAUSED, cause=f"{kind}{at:%Y-%m-%dT%H:%M:%S.%f}") for pk, at in paused
        ]
    return found


def _first_rejections(now: datetime) -> list[Notice]:
    """Notices for accounts with a rejection today that were not told yet today (a day of the account's time zone)."""
    accounts = Account.objects.filter(pk__in=BrazeSettings.objects.values("account"))
    days = {account.pk: _midnight(account, now) for account in accounts}
    told = Notice.objects.filter(topic=Topic.REJECTED, cause__in={_day(day) for day in days.values()})
    noted = set(told.values_list("account_id", "cause"))
    silent = {pk: day for pk, day in days.items() if (pk, _day(day)) not in noted}
    rejected = OutboxEntry.objects.filter(account_id__in=silent, integration=NAME, status=Status.REJECTED).order_by()
    latest = rejected.values_list("account_id").annotate(Max("settled_at"))
    return [
        Notice(account_id=pk, topic=Topic.REJECTED, cause=_day(silent[pk]))
        for pk, at in latest
        if at and at >= silent[pk]
    ]


def _note(causes: Sequence[Notice]) -> None:
    """Insert the causes that are new; most are not."""
    known = Notice.objects.filter(cause__in={notice.cause for notice in causes})
    noted = set(known.values_list("account_id", "topic", "cause"))
    new = [notice for notice in causes if (notice.account_id, notice.topic, notice.cause) not in noted]
    Notice.objects.bulk_create(new, ignore_conflicts=True)


def _due(now: datetime) -> "QuerySet[Notice]":
    rested = Q(tried_at=None) | is_over("tried_at", RETRY_AFTER, now)
    return Notice.objects.filter(rested, sent_at=None, tries__lt=MOST_TRIES)


def _rejected(account_id: int, since: datetime) -> "QuerySet[OutboxEntry]":
    entries = entries_of(account_id).filter(status=Status.REJECTED)
    return entries.filter(settled_at__gte=since)


def _midnight(account: Account, now: datetime) -> datetime:
    """When the current day began in the account's time zone."""
    return now.astimezone(_zone(account)).replace(hour=0, minute=0, second=0, microsecond=0)


def _zone(account: Account) -> ZoneInfo:
    """The account's time zone. UTC if there is no such zone: only forms check that there is."""
    try:
        return ZoneInfo(account.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the last: a folder of zones, or too long a name
        return ZoneInfo("UTC")


def _day(midnight: datetime) -> str:
    return f"{midnight:%Y-%m-%d}"


# --- the mail -------------------------------------------------------------------------------------------


def _mail(notice: Notice, people: Sequence[tuple[int, str]]) -> list[Exception]:
    """One mail per person (id, address), over one connection, and noted at once; returns the failures of single mails.

    Raises `OSError` if the server is of no use.
    """
    subject, body = _paused(notice) if notice.topic == Topic.PAUSED else _first_rejection(notice)
    failed: list[Exception] = []
    if not people:
        return failed
    with get_connection() as connection:
        for pk, address in people:
            try:
                connection.send_messages([EmailMessage(subject, body, to=[address])])
            except OF_ONE as error:
                failed.append(error)
                continue
            notice.told.append(pk)
            notice.save(update_fields=["told"])
    return failed


def _paused(notice: Notice) -> tuple[str, str]:
    account, state = notice.account, BrazeState.objects.get(account=notice.account)
    is_held = notice.cause.startswith(HELD)
    since = state.held_at if is_held else state.paused_at
    other = _other_pause(state, is_held)
    if since is None:
        words = f"The sync of {account} to Braze was paused, and goes on again."
        over = f"What had paused the sync of {account} to Braze is over. {other}"
        return f"{account}: the sync to Braze was paused", over if other else words
    why, remedy, page = _pause_of_a_person(state) if is_held else _pause_of_braze(state)
    words = (
        f"Nothing of {account} is sent to Braze since {since:%Y-%m-%d %H:%M} UTC.\n\n{why}\n\n"
        f"Nothing is lost: changes are captured and wait. {remedy} {other}"
    )
    return f"{account}: the sync to Braze is paused", f"{words.strip()}\n{_link(page)}"


def _other_pause(state: BrazeState, is_held: bool) -> str:
    """What keeps the account paused when this pause is over; "" if nothing does."""
    if is_held:
        return f"Before that: {REMEDIES[state.pause_kind]}" if state.pause_kind == PauseKind.RESTORED else ""
    return "It stays paused by somebody, until “Resume” is pressed on its Health page." if state.held_at else ""


def _pause_of_a_person(state: BrazeState) -> tuple[str, str, str]:
    page = reverse("admin:braze_accounthealth_account", args=(state.account.slug,))
    return f"It was {readiness.held_in_words(state)}", "“Resume” on its Health page ends this.", page


def _pause_of_braze(state: BrazeState) -> tuple[str, str, str]:
    return state.pause_reason, REMEDIES.get(state.pause_kind, ""), _settings_page(state.account)


def _first_rejection(notice: Notice) -> tuple[str, str]:
    """Braze's own words are not mailed: they may quote personal data."""
    account = notice.account
    midnight = datetime.fromisoformat(notice.cause).replace(tzinfo=_zone(account))
    number = len(_rejected(account.pk, midnight)[:COUNTED])
    changes = (
        "a change" if number <= 1 else f"{number:,} changes" if number < COUNTED else f"{COUNTED:,} changes or more"
    )
    page = reverse("admin:braze_failedsync_changelist", query={"account__id__exact": account.pk})
    words = (
        f"Braze refused {changes} of {account} today. The page of failed syncs has Braze's words for each; correct "
        f"the record and send it again, or discard it. There is no further mail about rejections of this day."
    )
    return f"{account}: Braze refused a change", f"{words}\n{_link(page)}"


def _settings_page(account: Account) -> str:
    found = BrazeSettings.objects.filter(account=account).first()
    return reverse("admin:braze_brazesettings_change", args=(found.pk,)) if found else reverse("admin:index")


def _link(page: str) -> str:
    """A line with the page's address, or "" without `CONSOLE_URL`."""
    return f"\n{settings.CONSOLE_URL.rstrip('/')}{page}\n" if settings.CONSOLE_URL else ""
