"""Settings that every environment shares."""

from contextlib import suppress
from types import NoneType
from typing import Any
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

from masivo_braze.clocks import every
from settings.environment import (
    BASE_DIR,
    VAR_DIR,
    broker_url,
    endpoints,
    env,
    host_names,
    log_level,
    number,
    origins,
    redis_url,
    switch,
    text,
    web_address,
    whole_number,
    words,
)

DEBUG = False
ALLOWED_HOSTS: list[str] = host_names("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS: list[str] = origins("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "unfold",  # before the admin, whose site and templates it replaces
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "masivo_braze.loyalty",
    "masivo_braze.console",
    "integrations.outbox",
    "integrations.braze",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "masivo_braze.console.nul.without_nul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "masivo_braze.console.expired.told_if_expired",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "masivo_braze.urls"
WSGI_APPLICATION = "masivo_braze.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "masivo_braze" / "console" / "templates"],  # before the theme's
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# The admin's theme. Nothing of it is loaded from outside.
UNFOLD = {
    "SITE_TITLE": "Masivo → Braze",
    "SITE_HEADER": "Masivo → Braze",
    "SITE_SYMBOL": "sync",
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "STYLES": ["masivo_braze.console.theme.stylesheet"],
    "SCRIPTS": ["masivo_braze.console.theme.script"],
    "COLORS": {"primary": "masivo_braze.console.theme.primary"},
    "SIDEBAR": {"navigation": "masivo_braze.console.navigation.sidebar"},
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
FORMAT_MODULE_PATH = "masivo_braze.console.formats"
USE_TZ = True
STATIC_URL = "static/"
#: Where `collectstatic` puts style sheets and scripts, and `web` serves them from.
STATIC_ROOT = text("STATIC_ROOT", str(BASE_DIR / "staticfiles"))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_ENGINES = ("django.db.backends.postgresql", "django.db.backends.sqlite3")
#: Options of libpq. A PostgreSQL that vanishes with its machine or network closes no connection: by Linux' defaults, a
#: process would wait two minutes to connect, a quarter of an hour for a statement to get through, and two hours for an
#: answer. `DATABASE_URL` may set others, as in `…/name?connect_timeout=10`.
_GIVEN_UP_IN_TIME = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms: for what was sent and not acknowledged
}


def database(url: str) -> dict[str, Any]:
    """Django's settings for the database at `url`, with what SQLite needs to be shared by several processes.

    Raises `ImproperlyConfigured` for an invalid address, without showing it: it may hold a password.
    """
    try:
        config: dict[str, Any] = env.db_url_config(url)
    except ValueError:  # its message contains a part of the address
        config = {}
    if config.get("ENGINE") not in _ENGINES:
        raise ImproperlyConfigured("DATABASE_URL has to be postgres://user:password@host/name, or sqlite:///path.")
    if config["ENGINE"] == "django.db.backends.sqlite3":
        # WAL lets readers work while there is a writer; IMMEDIATE takes the write lock at BEGIN, where the busy
        # timeout applies, instead of failing in the middle of a transaction that read first.
        config["OPTIONS"] = {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=30000;",
        }
    else:
        config.setdefault("CONN_HEALTH_CHECKS", True)
        if not isinstance(config.setdefault("CONN_MAX_AGE", 600), (int, float, NoneType)):
            raise ImproperlyConfigured("DATABASE_URL: conn_max_age has to be a number of seconds.")
        config["HOST"] = unquote(config.get("HOST") or "")  # a socket's folder, as libpq has it in addresses
        config["OPTIONS"] = {**_GIVEN_UP_IN_TIME, **config.get("OPTIONS", {})}
    return config


DATABASES = {"default": database(text("DATABASE_URL", f"sqlite:///{VAR_DIR / 'db.sqlite3'}"))}

REDIS_URL = redis_url()
#: For connecting to Redis, and for each command: a Redis that hangs must not hold a process up for longer.
REDIS_TIMEOUT_SECONDS = 2.0

# --- Celery -----------------------------------------------------------------------------------------
CELERY_BROKER_URL = broker_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_TASK_ACKS_LATE = False  # every task is a hint: the sweep repeats a lost one, a repeated one is harmless
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
#: A Redis that cannot save its snapshot, or has become a replica, refuses to hand out messages: workers would end.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_CONNECTION_TIMEOUT = REDIS_TIMEOUT_SECONDS
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": REDIS_TIMEOUT_SECONDS,
    "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
    # Messages are hints, so none has to be kept until it is acknowledged; and with the emulation on, a Redis that
    # restarts while a message is unacknowledged can stop a worker for good.
    "ack_emulation": False,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_DEFAULT_QUEUE = "relay"
CELERY_TASK_ROUTES = {
    # A tick like the flush's: on the relay's queue, it would expire behind the messages of a few backlogs.
    "integrations.outbox.tasks.sweep": {"queue": "flush"},
    "integrations.braze.tasks.relay": {"queue": "relay"},
    # These take their time, and have threads of their own: a change never waits for them.
    "integrations.braze.tasks.purge": {"queue": "upkeep"},
    "integrations.braze.tasks.scrub": {"queue": "upkeep"},
    "integrations.braze.tasks.backfill": {"queue": "upkeep"},
    "integrations.braze.tasks.backfills": {"queue": "upkeep"},
    "integrations.braze.tasks.wake": {"queue": "upkeep"},
    "integrations.braze.tasks.flush": {"queue": "flush"},
    "integrations.braze.tasks.flush_account": {"queue": "flush"},
    "integrations.braze.tasks.flush_backlog": {"queue": "backlog"},
    "integrations.braze.tasks.probe_account": {"queue": "probation"},
    # A mail server that hangs must not hold up a sync.
    "integrations.braze.tasks.notify": {"queue": "notices"},
    "integrations.braze.tasks.notice_losses": {"queue": "notices"},
    "integrations.braze.tasks.tell": {"queue": "notices"},
}
# `expires` is the period: a tick that no worker takes in time is dropped, as the next one is due anyway.
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "integrations.outbox.tasks.sweep", "schedule": every(1), "options": {"expires": 1.0}},
    "purge": {"task": "integrations.braze.tasks.purge", "schedule": every(3600), "options": {"expires": 3600.0}},
    "scrub": {"task": "integrations.braze.tasks.scrub", "schedule": every(15), "options": {"expires": 15.0}},
    "backfills": {"task": "integrations.braze.tasks.backfills", "schedule": every(15), "options": {"expires": 15.0}},
    "notify": {"task": "integrations.braze.tasks.notify", "schedule": every(15), "options": {"expires": 15.0}},
    "losses": {
        "task": "integrations.braze.tasks.notice_losses",
        "schedule": every(15),
        "options": {"expires": 15.0},
    },
    "wake": {"task": "integrations.braze.tasks.wake", "schedule": every(15), "options": {"expires": 15.0}},
    "flush": {"task": "integrations.braze.tasks.flush", "schedule": every(1), "options": {"expires": 1.0}},
}

# --- Mail -------------------------------------------------------------------------------------------


def mail(url: str) -> dict[str, Any]:
    """Django's settings for the mail server at `url`.

    Raises `ImproperlyConfigured` for an invalid address, without showing it: it may hold a password.
    """
    with suppress(ValueError, ImproperlyConfigured):
        config: dict[str, Any] = env.email_url_config(url)
        return config
    raise ImproperlyConfigured("EMAIL_URL has to be smtp://user:password@host:25, or smtp+tls://…:587.")


#: `smtp://user:password@host:port`, `smtp+tls://…`; without it mails go nowhere.
vars().update(mail(text("EMAIL_URL", "dummymail://")))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL: str = text("DEFAULT_FROM_EMAIL", "masivo-braze@localhost")
#: The console's own address, such as https://console.example.com, for links in mails.
CONSOLE_URL: str = web_address("CONSOLE_URL")

# --- Braze ------------------------------------------------------------------------------------------
#: Fernet keys for stored API keys: the first encrypts, all decrypt.
FIELD_ENCRYPTION_KEYS: list[str] = words("FIELD_ENCRYPTION_KEYS")
#: Base URLs allowed besides Braze's own hosts, for the sandbox and tests.
BRAZE_EXTRA_ENDPOINTS: list[str] = endpoints("BRAZE_EXTRA_ENDPOINTS")
#: Off outside production, so that no laptop writes to a merchant's workspace.
BRAZE_ALLOW_REAL_HOSTS: bool = switch("BRAZE_ALLOW_REAL_HOSTS", default=False)

#: Event types that are never forwarded, besides Masivo's seven internal ones; exact names, case included.
BRAZE_INTERNAL_EVENTS: list[str] = words("BRAZE_INTERNAL_EVENTS")
#: From connecting to the last byte of Braze's answer. Short times turn slow successes into unknown outcomes.
BRAZE_READ_TIMEOUT_SECONDS = number("BRAZE_READ_TIMEOUT_SECONDS", 30.0, least=0.1)
#: Almost three centuries: dates longer ago may be out of the calendar's range.
_MOST_DAYS = 100_000
#: How long settled changes and finished requests are kept. Purchases and the mirror are kept for ever.
BRAZE_RETENTION_DAYS = number("BRAZE_RETENTION_DAYS", 30.0, most=_MOST_DAYS)
#: How long the payloads of finished requests are kept; 0: only until they are settled.
BRAZE_PAYLOAD_DAYS = number("BRAZE_PAYLOAD_DAYS", 7.0, most=_MOST_DAYS)
#: How long a relay may hold an account without committing before another may take over.
BRAZE_LEASE_SECONDS = number("BRAZE_LEASE_SECONDS", 30.0, least=0.1)
#: The longest pause of a backlog after each piece of its work, if other accounts have something to do; 0: none.
BRAZE_GIVE_WAY_SECONDS = number("BRAZE_GIVE_WAY_SECONDS", 1.0, most=5)
#: What an account may have ready in Redis; the rest waits in the database.
BRAZE_READY_REQUESTS = whole_number("BRAZE_READY_REQUESTS", 200, least=1)
BRAZE_READY_BYTES = whole_number("BRAZE_READY_BYTES", 32 * 1024 * 1024, least=1, most=10**12)
#: A deletion leaves at least this long after the customer's last accepted request …
BRAZE_DELETE_AFTER_SECONDS = number("BRAZE_DELETE_AFTER_SECONDS", 5.0)
#: … and a customer created again waits until Braze has deleted the old one everywhere: up to five minutes.
BRAZE_DELETE_SETTLES_SECONDS = number("BRAZE_DELETE_SETTLES_SECONDS", 300.0)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"class": "masivo_braze.logs.Brief", "format": "{asctime} {levelname} {name} {message}", "style": "{"}
    },
    "filters": {"seldom": {"()": "masivo_braze.logs.Seldom"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["seldom"]}},
    # A line per tick and task, several a second, would bury what matters.
    "loggers": {
        **{name: {"level": "WARNING"} for name in ("celery.beat", "celery.worker.strategy", "celery.app.trace")},
        # So would a line for each connection to Braze that is closed since there are enough of them.
        "urllib3.connectionpool": {"level": "ERROR"},
    },
    "root": {"handlers": ["console"], "level": log_level("LOG_LEVEL")},
}
