"""The surroundings of a test session: its own Redis, its own directory."""

import os
from pathlib import Path

import redis
from django.conf import settings

from settings.environment import VAR_DIR


def test_it_gives_the_session_a_redis_that_settings_and_celery_use(redis_client: "redis.Redis") -> None:
    assert redis_client.set("key", "value")
    assert settings.REDIS_URL == settings.CELERY_BROKER_URL == os.environ["REDIS_URL"]
    assert redis_client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_it_keeps_out_of_the_developers_var_directory() -> None:
    assert VAR_DIR.name.startswith("masivo-tests-")
    assert not VAR_DIR.is_relative_to(Path(__file__).parents[2])
