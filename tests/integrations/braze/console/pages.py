"""The addresses of the console's pages, and people who may see them."""

from django.test import Client

from masivo_braze.loyalty.models import Account
from tests.console.two_accounts import person

HEALTH, ARRIVAL = "/admin/braze/accounthealth/", "/admin/braze/arrival/"


def client_of(group: str, *accounts: Account) -> Client:
    client = Client()
    client.force_login(person(group.lower(), group, *accounts))
    return client
