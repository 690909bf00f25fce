"""Members are told of a pause and of a day's first rejection, once per cause; a failing mail server hurts nothing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from smtplib import SMTPRecipientsRefused

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection

from integrations.braze import tasks
from integrations.braze.account import steering
from integrations.braze.models import BrazeSettings, BrazeState, Notice
from integrations.braze.models.account import PauseKind
from integrations.braze.reporting import notices
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Customer


@pytest.fixture
def member(account: Account, settings) -> User:
    settings.CONSOLE_URL = "https://console.example.com"
    user = User.objects.create_user("ada", "ada@example.com", is_staff=True)
    account.members.add(user, User.objects.create_user("no-address"))
    User.objects.create_user("stranger", "stranger@example.com")
    account.members.add(User.objects.create_user("gone", "gone@example.com", is_active=False))
    return user


def pause(kind: PauseKind = PauseKind.REFUSED, reason: str = "Braze answered 401: Invalid API key: [key]") -> None:
    BrazeState.objects.update(paused_at=database_now(), pause_kind=kind, pause_reason=reason)


def reject(account: Account, at: datetime | None = None) -> OutboxEntry:
    return OutboxEntry.objects.create(
        account=account,
        integration="braze",
        kind="event",
        customer_external_id="Ada",
        status=Status.REJECTED,
        error="ada@example.com is no address",
        settled_at=at or database_now(),
    )


def tick() -> list[mail.EmailMessage]:
    """What one tick sends."""
    mail.outbox.clear()
    for notice_id in notices.find_causes():
        notices.send(notice_id)
    return list(mail.outbox)


def test_a_pause_is_told_once_to_each_member_with_an_address(member: User, braze: BrazeSettings) -> None:
    assert tick() == []
    pause()
    (told,) = tick()
    assert told.to == ["ada@example.com"]
    assert told.subject == "Shop: the sync to Braze is paused"
    assert "Braze answered 401: Invalid API key: [key]" in told.body
    assert "save the account's Braze settings: that ends this pause" in told.body
    assert f"https://console.example.com/admin/braze/brazesettings/{braze.pk}/change/" in told.body
    assert tick() == []


def test_the_next_pause_is_another_cause(member: User, braze: BrazeSettings) -> None:
    pause()
    assert len(tick()) == 1
    braze.save()
    assert tick() == []
    pause()
    assert len(tick()) == 1


def test_a_real_refusal_is_told(
    member: User, braze: BrazeSettings, account: Account, sandbox: SandboxServer, sync: Callable[[], None]
) -> None:
    sandbox.faults.add(status=401)
    Customer.objects.create(account=account, external_id="Ada")
    sync()
    (told,) = tick()
    assert "Braze answered 401" in told.body
    assert braze.api_key not in told.body


def test_a_restored_database_says_what_ends_the_pause(member: User, braze: BrazeSettings) -> None:
    pause(PauseKind.RESTORED, "Lost commits.")
    assert "braze_restored" in tick()[0].body


def test_the_first_rejection_of_a_day_is_told_and_no_other(
    member: User, braze: BrazeSettings, account: Account
) -> None:
    yesterday = reject(account, database_now() - timedelta(days=1))
    assert tick() == []
    reject(account)
    (told,) = tick()
    assert told.subject == "Shop: Braze refused a change"
    assert "Braze refused a change of Shop today" in told.body
    assert yesterday.error not in told.body
    assert f"/admin/braze/failedsync/?account__id__exact={account.pk}" in told.body
    reject(account)
    assert tick() == []


def test_a_day_is_the_account_s_own(
    member: User, braze: BrazeSettings, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    Account.objects.update(time_zone="America/Bogota")  # its 24th begins at 05:00 UTC
    reject(account, datetime(2026, 11, 24, 4, 59, tzinfo=UTC))
    monkeypatch.setattr(notices, "database_now", lambda: datetime(2026, 11, 24, 5, 1, tzinfo=UTC))
    assert tick() == []
    reject(account, datetime(2026, 11, 24, 5, 0, tzinfo=UTC))
    assert len(tick()) == 1


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "America", "../UTC"])
def test_a_day_is_utc_s_where_the_account_names_no_time_zone(
    member: User, braze: BrazeSettings, account: Account, name: str
) -> None:
    """Only forms check it. Nobody else goes without a mail because of it, either: one tick looks for all accounts."""
    Account.objects.update(time_zone=name)
    reject(account)
    (told,) = tick()
    assert "Braze refused a change of Shop today" in told.body


def test_no_other_account_s_members_are_told(member: User, braze: BrazeSettings) -> None:
    other = Account.objects.create(name="Other", slug="other")
    BrazeSettings.objects.create(account=other)
    reject(other)
    BrazeState.objects.filter(account=other).update(paused_at=database_now(), pause_reason="refused")
    assert tick() == []


def test_a_mail_server_that_fails_is_tried_again_later_and_not_for_ever(
    member: User, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise TimeoutError

    monkeypatch.setattr(EmailBackend, "send_messages", refuse)
    pause()
    assert tick() == []
    assert notices.find_causes() == []  # not at once
    for _ in range(notices.MOST_TRIES):
        Notice.objects.update(tried_at=database_now() - notices.RETRY_AFTER * 2)
        assert tick() == []
    assert Notice.objects.get().tries == notices.MOST_TRIES
    Notice.objects.update(tried_at=database_now() - notices.RETRY_AFTER * 2)
    assert notices.find_causes() == []


def test_one_whose_mail_is_refused_keeps_nobody_else_from_theirs(
    member: User, account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has it does not get it again with the further tries."""
    account.members.add(*(User.objects.create_user(name, f"{name}@example.com") for name in ("bob", "cleo")))
    send_all = EmailBackend.send_messages

    def refuse_bob(backend: EmailBackend, mails: list[mail.EmailMessage]) -> int:
        if any(one.to == ["bob@example.com"] for one in mails):
            raise SMTPRecipientsRefused({"bob@example.com": (550, b"No such user")})
        return int(send_all(backend, mails))

    monkeypatch.setattr(EmailBackend, "send_messages", refuse_bob)
    pause()
    assert [told.to for told in tick()] == [["ada@example.com"], ["cleo@example.com"]]
    Notice.objects.update(tried_at=database_now() - notices.RETRY_AFTER * 2)
    assert tick() == []
    monkeypatch.undo()
    Notice.objects.update(tried_at=database_now() - notices.RETRY_AFTER * 2)
    assert [told.to for told in tick()] == [["bob@example.com"]]
    assert Notice.objects.get().sent_at is not None


def test_a_worker_of_the_version_before_can_still_note_a_cause(account: Account) -> None:
    """During a deployment, after the migration: it knows nothing of who has been told."""
    columns = "account_id, topic, cause, created_at, tries"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {Notice._meta.db_table} ({columns}) VALUES (%s, 'paused', '1', %s, 0)",
            [account.pk, str(database_now())],
        )
    assert Notice.objects.get().told == []


def test_it_is_sent_once_where_two_workers_have_it(member: User, braze: BrazeSettings) -> None:
    pause()
    (notice_id,) = notices.find_causes()
    assert (notices.send(notice_id), notices.send(notice_id)) == (True, False)
    Notice.objects.update(tried_at=database_now() - notices.RETRY_AFTER * 2)
    assert notices.send(notice_id) is False


def test_it_is_a_task_by_id_on_a_queue_of_its_own(
    member: User, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int]] = []
    monkeypatch.setattr(tasks.tell, "apply_async", lambda arguments, expires: told.append(arguments))
    pause()
    tasks.notify()
    assert told == [(Notice.objects.get().pk,)]
    for name in ("notify", "tell"):
        assert django_settings.CELERY_TASK_ROUTES[f"integrations.braze.tasks.{name}"] == {"queue": "notices"}
    assert "notify" in django_settings.CELERY_BEAT_SCHEDULE


def test_more_accounts_take_no_more_queries(
    member: User, braze: BrazeSettings, account: Account, django_assert_num_queries
) -> None:
    """A tick comes every fifteen seconds, for all accounts."""
    reject(account)
    pause()
    with django_assert_num_queries(9):
        assert len(notices.find_causes()) == 2
    Notice.objects.all().delete()
    for number in range(5):
        other = Account.objects.create(name=f"Other {number}", slug=f"other-{number}", time_zone="America/Bogota")
        BrazeSettings.objects.create(account=other)
        reject(other)
    pause()
    with django_assert_num_queries(9):
        assert len(notices.find_causes()) == 12


def test_a_person_s_pause_is_told_once_with_who_and_why(member: User, braze: BrazeSettings, account: Account) -> None:
    steering.pause(account.pk, "bob", "a campaign is being prepared")
    (told,) = tick()
    assert told.subject == "Shop: the sync to Braze is paused"
    assert "paused by bob: a campaign is being prepared" in told.body
    assert "“Resume” on its Health page" in told.body
    assert "https://console.example.com/admin/braze/accounthealth/shop/" in told.body
    assert tick() == []
    steering.resume(account.pk)
    assert tick() == []
    steering.pause(account.pk, "bob")
    assert len(tick()) == 1


def test_a_person_s_pause_that_is_over_before_the_mail_says_so(
    member: User, braze: BrazeSettings, account: Account
) -> None:
    steering.pause(account.pk, "bob")
    (notice,) = notices.find_causes()
    steering.resume(account.pk)
    notices.send(notice)
    assert mail.outbox[-1].subject == "Shop: the sync to Braze was paused"


def test_both_pauses_are_told(member: User, braze: BrazeSettings, account: Account) -> None:
    steering.pause(account.pk, "bob")
    pause()
    assert sorted("bob" in told.body for told in tick()) == [False, True]


def test_a_refusal_s_mail_says_that_somebody_has_paused_the_account_besides(
    member: User, braze: BrazeSettings, account: Account
) -> None:
    """It promised that sending goes on once the settings are saved, or that it had gone on."""
    pause()
    steering.pause(account.pk, "bob")
    refusal, _ = sorted(notices.find_causes())
    notices.send(refusal)
    assert "that ends this pause. It stays paused by somebody, until “Resume” is pressed" in mail.outbox[-1].body
    Notice.objects.update(sent_at=None, tried_at=None, told=[])
    BrazeState.objects.update(paused_at=None, pause_kind="", pause_reason="")  # the settings were saved
    notices.send(refusal)
    assert "goes on again" not in mail.outbox[-1].body
    assert "is over. It stays paused by somebody" in mail.outbox[-1].body


def test_a_pause_s_mail_says_what_has_to_be_done_before_it_can_be_ended(
    member: User, braze: BrazeSettings, account: Account
) -> None:
    pause(kind=PauseKind.RESTORED)
    steering.pause(account.pk, "bob")
    assert any("“Resume” on its Health page ends this. Before that: Somebody" in told.body for told in tick())
