"""Settings that are missing or wrong are named in a sentence."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.checks import run_checks
from pytest_django import Settings

from adminops.checks import check_refund_limits, check_refund_roles, check_secret_key, check_stripe

LIVE = "sk_live_" + "a" * 24


@pytest.mark.parametrize(
    ("name", "value", "id_", "word"),
    [
        ("STRIPE_SECRET_KEY", "", "backoffice.W001", "STRIPE_SECRET_KEY"),
        ("STRIPE_SECRET_KEY", "pk_test_" + "a" * 24, "backoffice.E001", "publishable"),
        ("STRIPE_SECRET_KEY", "secret", "backoffice.E002", "STRIPE_SECRET_KEY"),
        ("STRIPE_WEBHOOK_SECRETS", [], "backoffice.W002", "STRIPE_WEBHOOK_SECRETS"),
        ("STRIPE_WEBHOOK_SECRETS", ["whsec_1", "sk_test_1"], "backoffice.E003", "1 value"),
        ("STRIPE_API_BASE", "localhost:12111", "backoffice.E004", "STRIPE_API_BASE"),
        ("STRIPE_API_BASE", "https://api.stripe.com/", "backoffice.E004", "STRIPE_API_BASE"),
        ("STRIPE_API_BASE", "http://stripe.example", "backoffice.E006", "unencrypted"),
    ],
)
def test_each_wrong_stripe_setting_is_named(
    settings: Settings, name: str, value: Any, id_: str, word: str
) -> None:
    setattr(settings, name, value)
    (message,) = check_stripe(None)
    assert message.id == id_
    assert word in message.msg
    assert message.hint


def test_a_live_key_and_another_address_than_stripes_do_not_go_together(settings: Settings) -> None:
    settings.STRIPE_SECRET_KEY, settings.STRIPE_LIVE_MODE = LIVE, True
    (message,) = check_stripe(None)
    assert message.id == "backoffice.E005"


def test_the_settings_of_these_tests_are_right() -> None:
    assert check_stripe(None) == check_secret_key(None) == []


def test_another_database_than_postgresql_is_named() -> None:
    refused = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env={**os.environ, "DATABASE_URL": "sqlite:///x.db"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert refused.returncode != 0
    assert refused.stderr.strip().endswith("postgres://user:password@host:5432/name.")


def test_a_missing_secret_key_is_named(settings: Settings) -> None:
    settings.SECRET_KEY = ""
    (message,) = check_secret_key(None)
    assert "SECRET_KEY" in message.msg


@pytest.mark.parametrize(
    "limits",
    [
        [],
        {"Support": [1, 2]},
        {"Support": {"usd": 1}},
        {"Support": {"USD": [1, 2]}},
        {"Support": {"usd": [1.5, 2]}},
        {"Support": {"usd": [1, -2]}},
        {"*": [1, 2]},
        {"*": None},
    ],
)
def test_limits_of_refunds_that_are_not_understood_are_named(settings: Settings, limits: Any) -> None:
    settings.REFUND_LIMITS = limits
    assert [message.id for message in check_refund_limits(None)] == ["backoffice.E008"]
    settings.REFUND_LIMITS = {
        "Support": {"usd": [100, 200], "jpy": [0, 0]},
        "*": {"usd": [0, 0]},
        "Finance": None,
    }
    assert check_refund_limits(None) == []


@pytest.mark.django_db
def test_a_limit_for_a_role_that_is_not_there_is_named_where_the_database_may_be_asked(
    settings: Settings,
) -> None:
    settings.REFUND_LIMITS = {"Nobody": {}, "Support": {"usd": [1, 2]}, "*": {"usd": [1, 2]}, "Gone": None}
    Group.objects.get_or_create(name="Support")
    run = partial(run_checks, tags=["database"])
    (message,) = (each for each in run(databases=["default"]) if each.id == "backoffice.W004")
    assert "“Gone”, “Nobody”" in message.msg
    assert "backoffice.W004" not in {each.id for each in run()}
    settings.REFUND_LIMITS = {"Support": {"usd": [1, 2]}}
    assert check_refund_roles(None, databases=["default"]) == []
