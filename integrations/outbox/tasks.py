"""Celery's entry to the outbox."""

from celery import shared_task

from integrations.outbox import sweep as sweeping
from integrations.outbox.ticks import one_at_a_time


@shared_task(ignore_result=True)
@one_at_a_time
def sweep() -> None:
    sweeping.sweep()
