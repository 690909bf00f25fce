"""Production does not start on a missing or a default secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parents[2]

COMPLETE = {
    "SECRET_KEY": "Zq8-1mVw0sLkT5xYb2Nc7RfJh4GdPu9EaXo3IiUyTr6WvQeMnB",
    "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "DATABASE_URL": "postgres://user:password@db.example/masivo",
    "REDIS_URL": "redis://redis.example:6379/0",
    "ALLOWED_HOSTS": "masivo.example",
}


def start(shown: str = "ALLOWED_HOSTS", **changes: str) -> "subprocess.CompletedProcess[str]":
    """Import the production settings in a process of its own, with `COMPLETE` changed."""
    env = {"PATH": os.environ["PATH"], **COMPLETE, **changes}
    code = f"import settings.production as s; print(s.{shown}, s.DEBUG, s.CELERY_BROKER_URL)"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_it_starts_with_everything_set() -> None:
    done = start()
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["['masivo.example']", "False", COMPLETE["REDIS_URL"]]


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_it_names_what_is_missing(name: str) -> None:
    done = start(**{name: ""})
    assert done.returncode != 0
    assert f"Production needs the environment variable {name}." in done.stderr


@pytest.mark.parametrize("secret", ["secret", "x" * 60, "django-insecure-" + COMPLETE["SECRET_KEY"]])
def test_it_refuses_a_secret_key_that_looks_like_a_default(secret: str) -> None:
    done = start(SECRET_KEY=secret)
    assert done.returncode != 0
    assert "SECRET_KEY looks like a default" in done.stderr


def test_it_names_an_encryption_key_that_is_none_without_showing_it() -> None:
    done = start(FIELD_ENCRYPTION_KEYS=f"{COMPLETE['FIELD_ENCRYPTION_KEYS']},not-a-fernet-key")
    assert done.returncode != 0
    assert "FIELD_ENCRYPTION_KEYS: key 2 is not a Fernet key" in done.stderr
    assert "not-a-fernet-key" not in done.stderr


def test_it_runs_on_postgresql_only() -> None:
    done = start(DATABASE_URL="sqlite:///db.sqlite3")
    assert done.returncode != 0
    assert "production runs on PostgreSQL" in done.stderr


@pytest.mark.parametrize(("value", "is_allowed"), [(None, "True"), ("true", "True"), ("false", "False")])
def test_calls_to_braze_itself_are_on_unless_they_are_switched_off(value: str | None, is_allowed: str) -> None:
    done = start("BRAZE_ALLOW_REAL_HOSTS", **({"BRAZE_ALLOW_REAL_HOSTS": value} if value else {}))
    assert done.stdout.split()[0] == is_allowed, done.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BRAZE_READ_TIMEOUT_SECONDS", "abc", "a number from 0.1 to 1000000"),
        ("BRAZE_READ_TIMEOUT_SECONDS", "0", "a number from 0.1 to 1000000"),
        ("BRAZE_RETENTION_DAYS", "-1", "a number from 0 to 100000"),
        ("BRAZE_PAYLOAD_DAYS", "-0.5", "a number from 0 to 100000"),
        ("BRAZE_LEASE_SECONDS", "0", "a number from 0.1 to 1000000"),
        ("BRAZE_GIVE_WAY_SECONDS", "nan", "a number from 0 to 5"),
        ("BRAZE_GIVE_WAY_SECONDS", "6", "a number from 0 to 5"),
        ("BRAZE_READY_REQUESTS", "0", "a whole number from 1 to 1000000"),
        ("BRAZE_READY_REQUESTS", "1.5", "a whole number from 1 to 1000000"),
        ("BRAZE_READY_BYTES", "0", "a whole number from 1 to 1000000000000"),
        ("BRAZE_DELETE_AFTER_SECONDS", "-1", "a number from 0 to 1000000"),
        ("BRAZE_DELETE_SETTLES_SECONDS", "inf", "a number from 0 to 1000000"),
        ("SECURE_HSTS_SECONDS", "-1", "a whole number from 0 to 1000000000"),
    ],
)
def test_it_names_a_number_that_cannot_be(name: str, value: str, words: str) -> None:
    done = start(**{name: value})
    assert done.returncode != 0
    assert f"{name} has to be {words}, not “{value}”." in done.stderr


def test_a_number_that_is_empty_is_the_usual_one() -> None:
    assert start("BRAZE_READY_REQUESTS", BRAZE_READY_REQUESTS="").stdout.split()[0] == "200"


@pytest.mark.parametrize("url", ["zz", "mysql://user:s3cret@host/name", "postgres://user:s3cret@host:port/name"])
def test_it_names_a_database_that_is_none_without_showing_its_password(url: str) -> None:
    done = start(DATABASE_URL=url)
    assert done.returncode != 0
    assert "ImproperlyConfigured: DATABASE_URL has to be" in done.stderr
    assert "s3cret" not in done.stderr


def test_a_database_that_vanishes_is_given_up_in_time_and_its_address_has_the_last_word() -> None:
    """Without a reset, a worker's threads waited for hours: for a connection, an answer or an acknowledgement."""
    shown = "DATABASES['default']['OPTIONS']['{}']"
    url = f"{COMPLETE['DATABASE_URL']}?connect_timeout=10"
    assert start(shown.format("tcp_user_timeout")).stdout.split()[0] == "30000"
    assert start(shown.format("keepalives_idle")).stdout.split()[0] == "15"
    assert start(shown.format("connect_timeout")).stdout.split()[0] == "5"
    assert start(shown.format("connect_timeout"), DATABASE_URL=url).stdout.split()[0] == "10"


@pytest.mark.parametrize(
    "url",
    [
        "redis.example:6379",
        "http://redis.example",
        "sentinel://:hush@redis.example:26379",
        "redis+cluster://:hush@redis.example",
        "redis://:hush@redis.example:abc/0",
        "redis://redis.example:6379/hush",
        "redis://:p/hush@redis.example:6379/0",
        "redis://:hush@redis.example/?db=one",
        "REDIS://:hush@redis.example",
        "amqp://user:hush@redis.example",
    ],
)
@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_an_address_of_redis_that_is_none_is_named_without_showing_it(name: str, url: str) -> None:
    """Workers started with it, failed each second, and sent nothing; or went to the host that a password names."""
    done = start(**{name: url})
    assert done.returncode != 0
    assert f"{name} has to be redis://" in done.stderr.splitlines()[-1]
    assert "hush" not in done.stderr and "redis.example" not in done.stderr


@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_the_certificate_of_the_broker_is_verified_unless_its_address_says_otherwise(name: str) -> None:
    """Celery's own default is not to: whoever is in between would read the password."""
    shown = "CELERY_BROKER_URL"
    secure, lenient = "rediss://redis.example:6379/0", "rediss://redis.example:6379/0?ssl_cert_reqs=none"
    assert start(shown, **{name: secure}).stdout.split()[0] == f"{secure}?ssl_cert_reqs=required"
    assert start(shown, **{name: lenient}).stdout.split()[0] == lenient


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix://:p%40%2Fw@/run/redis.sock?db=2", "redis+socket://:p%40%2Fw@/run/redis.sock?virtual_host=2"),
        ("unix:///run/redis.sock?password=p%40", "redis+socket://:p%40@/run/redis.sock?virtual_host=0"),
        ("redis://redis.example/?db=3", "redis://redis.example/3"),
        ("rediss://h/1?ssl_ca_certs=/etc/ca.pem", "rediss://h/1?ssl_ca_certs=/etc/ca.pem"),
    ],
)
def test_celery_is_told_of_the_same_redis_in_its_own_words(url: str, broker: str) -> None:
    """It knew no transport `unix`, so that nothing was relayed; and its queues were in another database."""
    assert start("CELERY_BROKER_URL", REDIS_URL=url).stdout.split()[0] == broker


@pytest.mark.parametrize(
    ("name", "one", "two"),
    [
        ("BRAZE_INTERNAL_EVENTS", "ONE", "TWO"),
        ("BRAZE_EXTRA_ENDPOINTS", "https://one", "https://two"),
        ("CSRF_TRUSTED_ORIGINS", "https://one", "https://two"),
        ("ALLOWED_HOSTS", "one", "two"),
    ],
)
def test_a_list_may_be_written_with_spaces(name: str, one: str, two: str) -> None:
    """The second internal event was forwarded: no event has a type that begins with a space."""
    done = start(f"{name} == ['{one}', '{two}']", **{name: f"{one}, {two} ,"})
    assert done.stdout.split()[0] == "True"


@pytest.mark.parametrize("host", ["https://a.example", "a.example:8000", "a.example/admin", "*.a.example", "a b"])
def test_it_names_a_host_that_no_request_has(host: str) -> None:
    """The admin answered each request with 400."""
    done = start(ALLOWED_HOSTS=f"masivo.example,{host}")
    assert done.returncode != 0
    assert f"ALLOWED_HOSTS has to be like admin.example.com, not “{host}”." in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("host", ["a.example", "a.example.", ".a.example", "*", "10.0.0.1", "[::1]", "A-1_b"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert start(ALLOWED_HOSTS=host).stdout.split()[0] == f"['{host}']"


@pytest.mark.parametrize("origin", ["a.example", "https://a.example/admin/", "https://", "ftp://a.example"])
def test_it_names_an_origin_that_no_browser_sends(origin: str) -> None:
    """Nobody could log in."""
    done = start(CSRF_TRUSTED_ORIGINS=origin)
    assert done.returncode != 0
    assert "CSRF_TRUSTED_ORIGINS has to be like https://admin.example.com, not" in done.stderr.splitlines()[-1]


def test_an_origin_may_be_copied_from_the_address_bar() -> None:
    shown = start("CSRF_TRUSTED_ORIGINS", CSRF_TRUSTED_ORIGINS="https://a.example/,https://*.b.example:8443").stdout
    assert shown.startswith("['https://a.example', 'https://*.b.example:8443']")


@pytest.mark.parametrize("url", ["127.0.0.1:8010", "sandbox.example", "https:sandbox.example", "https://"])
def test_it_names_an_endpoint_that_cannot_be_called(url: str) -> None:
    """An account could choose it, and backed off for ever."""
    done = start(BRAZE_EXTRA_ENDPOINTS=f"http://127.0.0.1:8010,{url}")
    assert done.returncode != 0
    assert "BRAZE_EXTRA_ENDPOINTS has to be like https://sandbox.example.com, not" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["ALLOWED_HOSTS", "FIELD_ENCRYPTION_KEYS"])
def test_a_list_of_nothing_is_missing(name: str) -> None:
    """Without a key, production started, and each account failed when its own was read."""
    assert f"Production needs the environment variable {name}." in start(**{name: " , "}).stderr


@pytest.mark.parametrize("name", ["BRAZE_ALLOW_REAL_HOSTS", "SECURE_SSL_REDIRECT"])
@pytest.mark.parametrize(("value", "is_on"), [("", True), ("On", True), ("1", True), ("no", False), ("0", False)])
def test_a_switch_that_is_empty_is_as_usual(name: str, value: str, is_on: bool) -> None:
    assert start(name, **{name: value}).stdout.split()[0] == str(is_on)


@pytest.mark.parametrize("name", ["BRAZE_ALLOW_REAL_HOSTS", "SECURE_SSL_REDIRECT"])
def test_it_names_a_switch_that_is_neither_on_nor_off(name: str) -> None:
    """A slip of the pen switched it off: nothing was sent, or http was not redirected."""
    done = start(**{name: "ture"})
    assert done.returncode != 0
    assert f"{name} has to be true or false, not “ture”." in done.stderr


@pytest.mark.parametrize("url", ["smpt://u:s3cret@h:25", "smtp://u:s3c/ret@h:25", "smtp://u:s3cret@h:port", "h:25"])
def test_it_names_a_mail_server_that_is_none_without_showing_its_password(url: str) -> None:
    done = start(EMAIL_URL=url)
    assert done.returncode != 0
    assert "EMAIL_URL has to be smtp://" in done.stderr.splitlines()[-1]
    assert "s3c" not in done.stderr


def test_no_mail_is_sent_where_the_mail_server_is_empty() -> None:
    assert start("EMAIL_BACKEND", EMAIL_URL="").stdout.split()[0] == "django.core.mail.backends.dummy.EmailBackend"


@pytest.mark.parametrize(("value", "level"), [("", "INFO"), ("debug", "DEBUG"), (" Warning ", "WARNING")])
def test_a_log_level_is_read_as_celery_reads_it(value: str, level: str) -> None:
    """The workers' command lines take any case; Django ended each process with an error that named no variable."""
    assert start("LOGGING['root']['level']", LOG_LEVEL=value).stdout.split()[0] == level


def test_it_names_a_log_level_that_is_none() -> None:
    done = start(LOG_LEVEL="chatty")
    assert done.returncode != 0
    assert "LOG_LEVEL has to be one of" in done.stderr.splitlines()[-1]


def test_an_empty_directory_for_static_files_is_the_usual_one() -> None:
    assert start("STATIC_ROOT", STATIC_ROOT="").stdout.split()[0] == str(ROOT / "staticfiles")


def test_a_secret_may_begin_with_a_dollar_sign() -> None:
    """It was taken for the name of another variable, and the key for missing."""
    secret = f"${COMPLETE['SECRET_KEY']}"
    assert start("SECRET_KEY", SECRET_KEY=secret).stdout.split()[0] == secret


def test_how_long_connections_are_kept_may_be_told_by_the_databases_address() -> None:
    """Where a pooler is in between, none should be kept; it was passed over in silence."""
    shown = "DATABASES['default']['CONN_MAX_AGE']"
    assert start(shown).stdout.split()[0] == "600"
    assert start(shown, DATABASE_URL=f"{COMPLETE['DATABASE_URL']}?conn_max_age=0").stdout.split()[0] == "0"


def test_the_database_may_be_reached_by_its_socket() -> None:
    """The folder was looked up as a host's name, as it was written in the address."""
    done = start("DATABASES['default']['HOST']", DATABASE_URL="postgres://user@%2Frun%2Fpostgresql/name")
    assert done.stdout.split()[0] == "/run/postgresql"


@pytest.mark.parametrize("age", ["abc", "10min", "true"])
def test_it_names_a_time_to_keep_connections_that_is_none(age: str) -> None:
    """Each connection failed, with an error that named no variable."""
    done = start(DATABASE_URL=f"{COMPLETE['DATABASE_URL']}?conn_max_age={age}")
    assert done.returncode != 0
    assert "DATABASE_URL: conn_max_age has to be a number of seconds." in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("url", ["console.example.com", "https:console.example.com", "https://"])
def test_it_names_a_console_whose_address_is_none(url: str) -> None:
    """The mails' links began with it, and led nowhere."""
    done = start(CONSOLE_URL=url)
    assert done.returncode != 0
    assert f"CONSOLE_URL has to be like https://console.example.com, not “{url}”." in done.stderr
    assert start("CONSOLE_URL", CONSOLE_URL="https://admin.example").stdout.split()[0] == "https://admin.example"
