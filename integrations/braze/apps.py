from django.apps import AppConfig


class BrazeConfig(AppConfig):
    name = "integrations.braze"
    label = "braze"
    verbose_name = "Braze"

    def ready(self) -> None:
        from integrations.braze import checks
        from integrations.braze.account import activation
        from integrations.braze.delivery import lanes, shutdown
        from integrations.braze.erasure import scrubbing
        from integrations.braze.integration import BrazeIntegration
        from integrations.outbox import registry

        registry.register(BrazeIntegration())
        activation.connect()
        checks.connect()
        lanes.connect()
        scrubbing.connect()
        shutdown.connect()
