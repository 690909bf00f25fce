"""Celery's entry to the outbox."""

from celery import shared_task

from integrations.outbox import sweep as sweeping


@shared_task(ignore_result=True)
def sweep() -> None:
    sweeping.sweep()
