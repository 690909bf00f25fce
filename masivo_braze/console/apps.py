from django.apps import AppConfig, apps


class ConsoleConfig(AppConfig):
    name = "masivo_braze.console"
    label = "console"
    verbose_name = "Console"

    def ready(self) -> None:
        """Give the auth app's pages the heading that they have in the sidebar."""
        apps.get_app_config("auth").verbose_name = "Who may do what"
