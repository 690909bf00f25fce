from django.apps import AppConfig


class BrazeConfig(AppConfig):
    name = "integrations.braze"
    label = "braze"
    verbose_name = "Braze"

    def ready(self) -> None:
        from integrations.braze import activation, checks, scrubbing, shutdown
        from integrations.braze.integration import BrazeIntegration
        from integrations.outbox import registry

        registry.register(BrazeIntegration())
        activation.connect()
        checks.connect()
        scrubbing.connect()
        shutdown.connect()
