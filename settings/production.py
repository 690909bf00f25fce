"""Production: PostgreSQL, and no start with a missing or a default secret."""

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from settings.base import *
from settings.environment import broker_url, switch, text, whole_number, words


def _required(name: str) -> str:
    value = text(name)
    if not value.strip(", "):  # a list of nothing is nothing, too
        raise ImproperlyConfigured(f"Production needs the environment variable {name}.")
    return value


def _secret_key() -> str:
    key = _required("SECRET_KEY")
    if len(key) < 50 or len(set(key)) < 5 or key.startswith("django-insecure"):
        raise ImproperlyConfigured(
            "SECRET_KEY looks like a default: use at least 50 random characters, e.g. from "
            "`python -c 'import secrets; print(secrets.token_urlsafe(50))'`."
        )
    return key


def _encryption_keys() -> list[str]:
    _required("FIELD_ENCRYPTION_KEYS")
    keys = words("FIELD_ENCRYPTION_KEYS")
    for position, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError as error:
            raise ImproperlyConfigured(
                f"FIELD_ENCRYPTION_KEYS: key {position} is not a Fernet key. Make one with "
                "`python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'`."
            ) from error
    return keys


_required("ALLOWED_HOSTS")
SECRET_KEY = _secret_key()
FIELD_ENCRYPTION_KEYS = _encryption_keys()
DATABASES = {"default": database(_required("DATABASE_URL"))}
if DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql":
    raise ImproperlyConfigured("DATABASE_URL: production runs on PostgreSQL (postgres://user:password@host/name).")
REDIS_URL = _required("REDIS_URL")
CELERY_BROKER_URL = broker_url(REDIS_URL)
BRAZE_ALLOW_REAL_HOSTS = switch("BRAZE_ALLOW_REAL_HOSTS", default=True)

SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_SSL_REDIRECT = switch("SECURE_SSL_REDIRECT", default=True)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = whole_number("SECURE_HSTS_SECONDS", 3600, most=10**9)
STORAGES = {"staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}}
