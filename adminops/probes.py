"""What machines ask of this one: is it whole, may it be given work, and how much has it done.

`/healthz` and `/readyz` tell nothing but yes or no and which part it is about; `/metrics` is for whoever has the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from billing.stripe_api import configuration_problem
from billing.telemetry import described, exposition

OK = "ok"
# Prometheus' text format.
TEXT = "text/plain; version=0.0.4; charset=utf-8"

# Applied migrations stay applied; until they are, each question looks anew.
_is_migrated = False


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """`GET /healthz`: 200 when the database answers and has every migration, else 503."""
    return _told(_parts())


@require_safe
def readiness(request: HttpRequest) -> HttpResponse:
    """`GET /readyz`: 200 when whole, and Stripe's key and webhook secrets are set; else 503, and better no requests."""
    return _told(
        {
            **_parts(),
            "stripe_key": OK if configuration_problem() is None else "missing",
            "webhook_secrets": OK if settings.STRIPE_WEBHOOK_SECRETS else "missing",
        }
    )


def _told(parts: Mapping[str, str]) -> HttpResponse:
    is_well = all(state == OK for state in parts.values())
    return _uncached(JsonResponse(dict(parts), status=200 if is_well else 503))


def _parts() -> dict[str, str]:
    """The database and its migrations, each "ok" or what is wrong, in a word."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return {"database": OK, "migrations": OK if _has_every_migration() else "missing"}
    except DatabaseError:
        return {"database": "unreachable", "migrations": "unknown"}


def _has_every_migration() -> bool:
    global _is_migrated
    if not _is_migrated:
        executor = MigrationExecutor(connection)
        _is_migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _is_migrated


# -- Metrics ----------------------------------------------------------------------------------------------


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """`GET /metrics` in Prometheus' text format, of all processes; 503 without the database that keeps them."""
    if not _may_read(request):
        return _uncached(HttpResponse("Give the token of METRICS_TOKEN.\n", status=403, content_type=TEXT))
    try:
        lines = [*exposition(), *_present()]
    except DatabaseError:
        return _uncached(HttpResponse("The database is not there.\n", status=503, content_type=TEXT))
    return _uncached(HttpResponse("\n".join(lines) + "\n", content_type=TEXT))


def _may_read(request: HttpRequest) -> bool:
    """Whoever has the token; without one, only this machine itself, and not what a proxy on it passes on."""
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "").encode()
        return hmac.compare_digest(given, f"Bearer {settings.METRICS_TOKEN}".encode())
    if settings.BEHIND_PROXY or {"X-Forwarded-For", "Forwarded"} & set(request.headers):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


# What stands in the tables now, in one question.
_PRESENT_SQL = """
    SELECT (SELECT count(*) FROM billing_subscriptionevent WHERE state = 'pending' AND source = 'stripe'),
           (SELECT count(*) FROM billing_subscriptionevent WHERE state = 'failed' AND source = 'stripe'),
           (SELECT count(*) FROM billing_subscriptionevent WHERE state = 'parked' AND source = 'stripe'),
           (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 FROM billing_subscriptionevent
            WHERE state IN ('pending', 'failed') AND source = 'stripe'),
           (SELECT count(*) FROM billing_customersync WHERE wanted > done),
           (SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - interval '30 seconds')
"""
_JOBS_SQL = "SELECT queue_name, count(*) FROM procrastinate_jobs WHERE status = 'todo' GROUP BY 1 ORDER BY 1"


def _present() -> list[str]:
    """Gauges: the backlog, the age of its oldest, and who works on it. Raises DatabaseError."""
    with connection.cursor() as cursor:
        cursor.execute(_PRESENT_SQL)
        pending, failed, parked, oldest, syncs, workers = cursor.fetchone()
        cursor.execute(_JOBS_SQL)
        jobs = {f'backoffice_jobs_waiting{{queue="{queue}"}}': count for queue, count in cursor.fetchall()}
    waiting = "backoffice_webhooks_waiting"
    return [
        *described(
            waiting,
            "Stored webhooks that are not settled: still to be read, to be tried again, left to a person.",
            "gauge",
            {f'{waiting}{{state="pending"}}': pending}
            | {f'{waiting}{{state="failed"}}': failed, f'{waiting}{{state="parked"}}': parked},
        ),
        *_gauge(
            "backoffice_webhooks_oldest_waiting_seconds",
            "Age of the oldest webhook still to be settled.",
            oldest,
        ),
        *_gauge("backoffice_syncs_waiting", "Customers of whom something is to be read from Stripe.", syncs),
        *_gauge(
            "backoffice_workers", "Worker processes that gave a sign of life within 30 seconds.", workers
        ),
        *described("backoffice_jobs_waiting", "Jobs that nobody has begun, by queue.", "gauge", jobs),
    ]


def _gauge(name: str, help_: str, value: float) -> list[str]:
    return described(name, help_, "gauge", {name: value})


def _uncached(response: HttpResponse) -> HttpResponse:
    response.headers["Cache-Control"] = "no-store"
    return response
