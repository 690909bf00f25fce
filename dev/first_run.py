"""`python -m dev.first_run`: the login and the demo account of `make run`, made where they are missing."""

import os

import django
from django.contrib.auth import get_user_model

LOGIN, PASSWORD = "admin", "admin-password"


def main() -> None:
    django.setup()
    from dev import sample

    users = get_user_model().objects
    if not users.filter(username=LOGIN).exists():
        users.create_superuser(LOGIN, "admin@example.com", PASSWORD)
    sample.ensure("demo", "Demo shop", f"http://127.0.0.1:{os.environ['SANDBOX_PORT']}")


if __name__ == "__main__":
    main()
