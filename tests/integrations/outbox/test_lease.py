"""One holder at a time, for a limited time, checked again at the commit."""

from datetime import timedelta
from threading import Thread

import pytest
from django.db import OperationalError, connection, transaction

from integrations.outbox import lease
from integrations.outbox.clock import database_now
from integrations.outbox.lease import LeaseLost, hold
from integrations.outbox.models import Lease
from masivo_braze.loyalty.models import Account

TTL = timedelta(seconds=30)


def test_it_has_one_holder(account: Account) -> None:
    with hold(account.pk, "braze", TTL) as first, hold(account.pk, "braze", TTL) as second:
        assert first is not None
        assert second is None


def test_it_is_free_again_after_its_holder_is_done_or_failed(account: Account) -> None:
    with pytest.raises(RuntimeError), hold(account.pk, "braze", TTL):
        raise RuntimeError
    with hold(account.pk, "braze", TTL) as held:
        assert held is not None


def test_it_is_kept_per_account_and_integration(account: Account) -> None:
    other = Account.objects.create(name="Other", slug="other")
    with (
        hold(account.pk, "braze", TTL) as one,
        hold(other.pk, "braze", TTL) as two,
        hold(account.pk, "other", TTL) as three,
    ):
        assert None not in (one, two, three)


def test_a_holder_past_its_time_can_commit_nothing(account: Account) -> None:
    with hold(account.pk, "braze", TTL) as paused:
        assert paused is not None
        Lease.objects.update(expires_at=database_now() - timedelta(seconds=1))
        with pytest.raises(LeaseLost):
            paused.confirm()


def test_a_holder_whose_lease_was_taken_over_neither_commits_nor_frees_it(account: Account) -> None:
    with hold(account.pk, "braze", TTL) as paused:
        assert paused is not None
        Lease.objects.update(expires_at=database_now() - timedelta(seconds=1))
        with hold(account.pk, "braze", TTL) as successor:
            assert successor is not None
            with pytest.raises(LeaseLost):
                paused.confirm()
            successor.confirm()


def test_a_late_release_leaves_the_successor_its_lease(account: Account) -> None:
    late = hold(account.pk, "braze", TTL)
    late.__enter__()
    Lease.objects.update(expires_at=database_now() - timedelta(seconds=1))
    with hold(account.pk, "braze", TTL) as successor:
        late.__exit__(None, None, None)
        assert successor is not None
        successor.confirm()


def test_a_dead_holder_s_lease_runs_out_though_the_database_s_clock_was_set_back(account: Account) -> None:
    """Nothing of the account was composed until the clock had caught up."""
    dead = hold(account.pk, "braze", TTL)
    dead.__enter__()
    Lease.objects.update(expires_at=database_now() + timedelta(hours=1))
    with hold(account.pk, "braze", TTL) as successor:
        assert successor is not None
        dead.__exit__(None, None, None)
        successor.confirm()


def test_confirming_prolongs_it(account: Account) -> None:
    with hold(account.pk, "braze", TTL) as held:
        assert held is not None
        Lease.objects.update(expires_at=database_now() + timedelta(seconds=1))
        held.confirm()
        assert Lease.objects.get().expires_at > database_now() + timedelta(seconds=20)


def test_it_can_be_revoked(account: Account) -> None:
    with hold(account.pk, "braze", TTL) as held:
        assert held is not None
        lease.revoke(account.pk, "braze")
        with pytest.raises(LeaseLost):
            held.confirm()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_holder_whose_connection_broke_frees_it_on_another(account: Account) -> None:
    """As where the database restarts: the next holder would have to wait for the lease to run out."""
    with pytest.raises(OperationalError, match="closed"), hold(account.pk, "braze", TTL) as held:
        connection.connection.close()
        held.confirm()
    with hold(account.pk, "braze", TTL) as next_one:
        assert next_one


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_holder_that_is_committing_is_not_waited_for(account: Account) -> None:
    """Though its time is up, as far as others see: a waiting relay would keep its process from other accounts."""
    taken: list[object] = []

    def take() -> None:
        try:
            with hold(account.pk, "braze", TTL) as held:
                taken.append(held)
        finally:
            connection.close()

    with hold(account.pk, "braze", TTL):
        Lease.objects.update(expires_at=database_now() - timedelta(seconds=1))
        with transaction.atomic():
            list(Lease.objects.select_for_update())
            other = Thread(target=take)
            other.start()
            other.join(10)
            assert taken == [None]
    other.join()


def test_one_account_s_revocation_leaves_all_other_leases_alone(account: Account) -> None:
    other = Account.objects.create(name="Other", slug="other")
    with (
        hold(account.pk, "braze", TTL) as revoked,
        hold(other.pk, "braze", TTL) as of_another,
        hold(account.pk, "other", TTL) as of_another_integration,
    ):
        lease.revoke(account.pk, "braze")
        assert revoked and of_another and of_another_integration
        of_another.confirm()
        of_another_integration.confirm()
        with pytest.raises(LeaseLost):
            revoked.confirm()
