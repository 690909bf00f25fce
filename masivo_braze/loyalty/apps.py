from django.apps import AppConfig


class LoyaltyConfig(AppConfig):
    name = "masivo_braze.loyalty"
    label = "loyalty"
    verbose_name = "Masivo"

    def ready(self) -> None:
        from masivo_braze.loyalty.models import order

        order.connect()
