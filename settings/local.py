"""A laptop: SQLite and generated secrets under `var/`, the embedded Redis, no calls to Braze itself."""

from settings.base import *
from settings.environment import (
    endpoints,
    fernet_key,
    generated_secret,
    host_names,
    sandbox_port,
    secret_key,
    switch,
)

DEBUG = switch("DEBUG", default=True)
ALLOWED_HOSTS = host_names("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
# A shell opened beside `make run` may use its sandbox.
BRAZE_EXTRA_ENDPOINTS = endpoints("BRAZE_EXTRA_ENDPOINTS", default=[f"http://127.0.0.1:{sandbox_port()}"])
SECRET_KEY = generated_secret("SECRET_KEY", secret_key)
FIELD_ENCRYPTION_KEYS = generated_secret("FIELD_ENCRYPTION_KEYS", fernet_key).split(",")
