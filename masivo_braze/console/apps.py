from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "masivo_braze.console"
    label = "console"
    verbose_name = "Console"
