from django.apps import AppConfig


class OutboxConfig(AppConfig):
    name = "integrations.outbox"
    label = "outbox"
    verbose_name = "Braze"

    def ready(self) -> None:
        from integrations.outbox import checks, failover, lookups, planner, receivers

        lookups.register()
        receivers.connect()
        planner.connect()
        failover.connect()
        checks.connect()
