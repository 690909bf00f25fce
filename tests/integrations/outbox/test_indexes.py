"""Migrations of a running system: an index is built while others go on writing, and again if that was cut off."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import OperationalError, connection, transaction
from django.db.migrations import AddIndex, RemoveIndex
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.models import Index

from dev.waiting import wait_until
from integrations.outbox.indexes import BuildIndex, DropIndex
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.connections import started, waiting

NAME = "outbox_of_this_test"
INDEX = Index(fields=["created_at"], name=NAME)
BUILD, DROP = BuildIndex("outboxentry", INDEX), DropIndex("outboxentry", NAME)


def is_valid() -> bool | None:
    """Whether PostgreSQL uses the index; None if there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [NAME])
        row = cursor.fetchone()
    return row[0] if row else None


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.get_constraints(cursor, "outbox_outboxentry"))


def apply(operation: Any, backwards: bool = False) -> None:
    """As a migration does that is no transaction."""
    before = ProjectState.from_apps(apps)
    if isinstance(operation, DropIndex):
        BUILD.state_forwards("outbox", before)
    after = before.clone()
    operation.state_forwards("outbox", after)
    with connection.schema_editor(atomic=False) as editor:
        if backwards:
            operation.database_backwards("outbox", editor, after, before)
        else:
            operation.database_forwards("outbox", editor, before, after)


@pytest.fixture
def no_index(transactional_db: None) -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {NAME}")


@pytest.mark.usefixtures("no_index")
def test_it_is_built_and_removed_and_either_can_be_undone() -> None:
    apply(BUILD)
    assert NAME in indexes()
    apply(BUILD, backwards=True)
    assert NAME not in indexes()
    apply(BUILD)
    apply(DROP)
    assert NAME not in indexes()
    apply(DROP, backwards=True)
    assert NAME in indexes()


@pytest.mark.postgres
@pytest.mark.usefixtures("no_index")
def test_others_go_on_writing_while_it_is_built(account: Account, want_all: None) -> None:
    """It waits for a transaction that has written to the table; with an ordinary one, all others waited behind it."""
    with transaction.atomic():
        Customer.objects.create(account=account, external_id="c1")
        building = started(lambda: apply(BUILD))
        wait_until(lambda: waiting() == 1, "the building")
        saving = started(lambda: Customer.objects.create(account=account, external_id="c2"))
        saving.join(10)
        assert not saving.is_alive()
    building.join()
    assert is_valid()


@pytest.mark.postgres
@pytest.mark.usefixtures("no_index")
def test_what_was_cut_off_is_built_anew(account: Account, want_all: None) -> None:
    def is_cut_off() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout TO '200ms'")
        with pytest.raises(OperationalError):
            apply(BUILD)

    with transaction.atomic():
        Customer.objects.create(account=account, external_id="c1")
        started(is_cut_off).join()
    assert is_valid() is False
    apply(BUILD)
    assert is_valid()


def test_no_migration_of_a_running_system_keeps_others_from_writing_for_as_long_as_an_index_takes() -> None:
    """The first ones make the tables, which are empty then."""
    ours = [
        migration
        for (app, _), migration in MigrationLoader(None).disk_migrations.items()
        if app in ("loyalty", "outbox", "braze") and not migration.initial
    ]
    for migration in ours:
        kinds = {type(operation) for operation in migration.operations}
        assert not kinds & {AddIndex, RemoveIndex}, migration
        assert not (kinds & {BuildIndex, DropIndex} and migration.atomic), migration
