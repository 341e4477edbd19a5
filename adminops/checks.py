"""System checks: settings that are missing or wrong, each named in a sentence that says what to do."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connection

from billing.authority import ANYONE_ELSE
from billing.stripe_api import KEY_FORMAT

STRIPE = "https://api.stripe.com"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@register()
def check_stripe(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The Stripe settings: a key, webhook secrets and an address that fit each other."""
    found: list[CheckMessage | None] = [check() for check in _STRIPE_CHECKS]
    return [message for message in found if message is not None]


def _key() -> CheckMessage | None:
    key = settings.STRIPE_SECRET_KEY
    if not key:
        return Warning(
            "STRIPE_SECRET_KEY is not set, so nothing can be read from Stripe or changed there.",
            hint="Put a secret or restricted key (sk_test_… or rk_test_…) into the environment or into .env.",
            id="backoffice.W001",
        )
    if key.startswith("pk_"):
        return Error(
            "STRIPE_SECRET_KEY holds a publishable key (pk_…), which may not read or change anything.",
            hint="Use the secret key (sk_…) or a restricted one (rk_…).",
            id="backoffice.E001",
        )
    if not KEY_FORMAT.match(key):
        return Error(
            "STRIPE_SECRET_KEY does not look like a key of Stripe's.",
            hint="It begins with sk_test_, sk_live_, rk_test_ or rk_live_, followed by letters and digits only.",
            id="backoffice.E002",
        )
    return None


def _secrets() -> CheckMessage | None:
    secrets = settings.STRIPE_WEBHOOK_SECRETS
    if not secrets:
        return Warning(
            "STRIPE_WEBHOOK_SECRETS is not set, so every webhook is refused and rows here grow old.",
            hint="Put the signing secret of the endpoint (whsec_…) there; several, with commas, while rotating.",
            id="backoffice.W002",
        )
    strange = [secret for secret in secrets if not re.match(r"^whsec_\S+$", secret)]
    if strange:
        return Error(
            f"STRIPE_WEBHOOK_SECRETS has {len(strange)} value(s) that are no signing secrets.",
            hint="Each begins with whsec_; the page of the webhook endpoint at Stripe shows it.",
            id="backoffice.E003",
        )
    return None


def _address() -> CheckMessage | None:
    address = settings.STRIPE_API_BASE
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname or address.endswith("/"):
        return Error(
            f"STRIPE_API_BASE is “{address}”, which is not an address like {STRIPE}.",
            hint="Leave it unset for Stripe itself.",
            id="backoffice.E004",
        )
    if settings.STRIPE_LIVE_MODE and address != STRIPE:
        return Error(
            "STRIPE_SECRET_KEY is a live key, and STRIPE_API_BASE would send it to somebody other than Stripe.",
            hint="Use a test key with a sandbox, or unset STRIPE_API_BASE.",
            id="backoffice.E005",
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return Error(
            "STRIPE_API_BASE sends the Stripe key over the network unencrypted.",
            hint="Use https, or an address of this machine.",
            id="backoffice.E006",
        )
    return None


_STRIPE_CHECKS: tuple[Callable[[], CheckMessage | None], ...] = (_key, _secrets, _address)


@register()
def check_database(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Without an address there is still a default, which is right on few machines and a puzzle on the others."""
    if os.environ.get("DATABASE_URL"):
        return []
    return [
        Warning(
            "DATABASE_URL is not set, so a database “backoffice” on this machine's own socket is used.",
            hint="It looks like postgres://user:password@host:5432/name.",
            id="backoffice.W003",
        )
    ]


@register()
def check_secret_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Django says only that SECRET_KEY must not be empty, and only once something needs it."""
    with contextlib.suppress(ImproperlyConfigured):
        if settings.SECRET_KEY:
            return []
    return [
        Error(
            "SECRET_KEY is not set.",
            hint="Put 50 or more random characters there: python -c 'import secrets; print(secrets.token_urlsafe(50))'",
            id="backoffice.E007",
        )
    ]


@register()
def check_refund_limits(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A limit that is not understood must not be found out at the first refund."""
    limits = settings.REFUND_LIMITS
    if isinstance(limits, dict) and all(
        _are_limits(each) or (each is None and name != ANYONE_ELSE) for name, each in limits.items()
    ):
        return []
    return [
        Error(
            "REFUND_LIMITS does not name limits.",
            hint='It looks like {"Support": {"usd": [10000, 50000]}}: per refund and per day, in minor units.',
            id="backoffice.E008",
        )
    ]


@register(Tags.database)
def check_refund_roles(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """A limit of a role that is not there limits nobody. Asked of the database by `check --database default`."""
    if DEFAULT_DB_ALIAS not in (databases or ()) or check_refund_limits(app_configs):
        return []
    named = set(settings.REFUND_LIMITS) - {ANYONE_ELSE}
    if not named or Group._meta.db_table not in connection.introspection.table_names():
        return []
    missing = sorted(named - set(Group.objects.filter(name__in=named).values_list("name", flat=True)))
    if not missing:
        return []
    return [
        Warning(
            f"REFUND_LIMITS names roles that are not there: {', '.join(f'“{name}”' for name in missing)}.",
            hint='Was a group renamed? Use its present name; "*" limits whoever is in no group that is named.',
            id="backoffice.W004",
        )
    ]


def _are_limits(by_currency: Any) -> bool:
    return isinstance(by_currency, dict) and all(
        isinstance(currency, str)
        and currency == currency.lower()
        and isinstance(pair, list)
        and len(pair) == 2
        and all(type(each) is int and each >= 0 for each in pair)
        for currency, pair in by_currency.items()
    )
