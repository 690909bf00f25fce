from django.apps import AppConfig


class BrazeConfig(AppConfig):
    name = "integrations.braze"
    label = "braze"
    verbose_name = "Braze"

    def ready(self) -> None:
        from integrations.braze import activation, checks, lanes, scrubbing, shutdown
        from integrations.braze.integration import BrazeIntegration
        from integrations.outbox import registry

        registry.register(BrazeIntegration())
        activation.connect()
        checks.connect()
        lanes.connect()
        scrubbing.connect()
        shutdown.connect()
