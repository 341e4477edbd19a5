"""Counts for those who watch the machines: added up in each process, written down once a second, read by anybody.

A busy door must not pay a hot row for each request, and whoever asks any one process must hear of all of them, on all
machines. So each process adds up in memory, and a thread of its own adds what came together to PostgreSQL
(docs/decisions/metrics.md). What a process counted while the database was down is written once it is back.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from django.db import DatabaseError, close_old_connections, connection, connections

from billing.models import MetricSample

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0

_lock = threading.Lock()
_counted: defaultdict[str, float] = defaultdict(float)


@dataclass(frozen=True)
class Counter:
    """A sum that only grows, one for each combination of its labels' values. All values are words of ours."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def add(self, *values: str, by: float = 1) -> None:
        """Count `by` more under these values of the labels, in their order."""
        sample = sample_of(self.name, dict(zip(self.labels, values, strict=True)))
        with _lock:
            _counted[sample] += by


@dataclass(frozen=True)
class Histogram:
    """How many took how long: counts of seconds up to each of `bounds`, their number and their sum."""

    name: str
    help: str
    bounds: tuple[float, ...]

    def observe(self, seconds: float) -> None:
        """Count one that took so long."""
        position = bisect_left(self.bounds, seconds)
        bound = f"{self.bounds[position]:g}" if position < len(self.bounds) else "+Inf"
        with _lock:
            _counted[sample_of(self.name, {"le": bound})] += 1
            _counted[f"{self.name}_sum"] += seconds


def sample_of(name: str, labels: Mapping[str, str]) -> str:
    """A name with labels as Prometheus writes it: `name{label="value"}`."""
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inside}}}" if inside else name


WEBHOOKS_ACCEPTED = Counter(
    "backoffice_webhooks_accepted_total",
    "Webhooks answered with 200: stored, or known already.",
    ("outcome",),
)
WEBHOOKS_REFUSED = Counter(
    "backoffice_webhooks_refused_total",
    "Webhooks answered with a 4xx, by reason; nothing was kept.",
    ("reason",),
)
WEBHOOKS_UNSTORED = Counter(
    "backoffice_webhooks_unstored_total", "Webhooks answered with 503, because the database was not there."
)
EVENTS_PROCESSED = Counter(
    "backoffice_events_processed_total", "Webhooks that were worked on, by what became of them.", ("state",)
)
EVENT_SECONDS = Histogram(
    "backoffice_event_seconds",
    "Seconds from a webhook's arrival to its settled state.",
    (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
)
SYNC_SECONDS = Histogram(
    "backoffice_sync_seconds",
    "Seconds that one reading of a customer took, waiting for a turn at Stripe included.",
    (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30),
)
STRIPE_CALLS = Counter(
    "backoffice_stripe_calls_total",
    "Calls to Stripe, by who spent them and how they were answered; busy is a 429.",
    ("spender", "answer"),
)
STRIPE_CALLS_PUT_OFF = Counter(
    "backoffice_stripe_calls_put_off_total", "Calls that were not sent, for want of a turn.", ("spender",)
)

METRICS: Sequence[Counter | Histogram] = (
    WEBHOOKS_ACCEPTED,
    WEBHOOKS_REFUSED,
    WEBHOOKS_UNSTORED,
    EVENTS_PROCESSED,
    EVENT_SECONDS,
    SYNC_SECONDS,
    STRIPE_CALLS,
    STRIPE_CALLS_PUT_OFF,
)


# -- Writing down -----------------------------------------------------------------------------------------


def flush() -> None:
    """Add what this process counted to everybody's sums. Raises DatabaseError, and then forgets nothing."""
    with _lock:
        counted = dict(_counted)
        _counted.clear()
    if not counted:
        return
    try:
        with connection.cursor() as cursor:
            # In one order, so that no two processes wait for each other.
            cursor.execute(
                """
                INSERT INTO billing_metricsample AS kept (sample, value)
                SELECT * FROM unnest(%s::varchar[], %s::float8[]) AS counted (sample, value) ORDER BY sample
                ON CONFLICT (sample) DO UPDATE SET value = kept.value + excluded.value
                """,
                [list(counted), list(counted.values())],
            )
    except BaseException:
        with _lock:
            for sample, value in counted.items():
                _counted[sample] += value
        raise


_flusher_of: int | None = None


def flush_regularly() -> None:
    """Have a thread of this process, and of every process forked from it, write down what is counted each second."""
    global _flusher_of
    if _flusher_of is None:
        os.register_at_fork(after_in_child=_begin_anew)
        atexit.register(_flush_at_the_end)
    if _flusher_of != os.getpid():
        _flusher_of = os.getpid()
        threading.Thread(target=_go_on, name="telemetry", daemon=True).start()


def _begin_anew() -> None:
    """A forked process has none of its parent's threads, counts nothing twice, and waits for nobody's lock."""
    global _lock
    _lock = threading.Lock()
    _counted.clear()
    flush_regularly()


def _go_on() -> None:
    pause = threading.Event()
    while not pause.wait(FLUSH_SECONDS):
        close_old_connections()
        try:
            flush()
        except DatabaseError as error:
            log.warning("Counts could not be written down yet: %s", type(error).__name__)
            connections.close_all()


def _flush_at_the_end() -> None:
    with contextlib.suppress(DatabaseError):
        flush()


# -- Reading ----------------------------------------------------------------------------------------------


def exposition() -> list[str]:
    """All sums as lines of Prometheus' text format, this process' latest included. Raises DatabaseError."""
    flush()
    kept = dict(MetricSample.objects.values_list("sample", "value"))
    return [line for metric in METRICS for line in _lines_of(metric, kept)]


def _lines_of(metric: Counter | Histogram, kept: Mapping[str, float]) -> list[str]:
    if isinstance(metric, Histogram):
        samples = _cumulative(metric, kept)
    else:
        samples = {key: kept[key] for key in sorted(kept) if key.partition("{")[0] == metric.name}
        if not metric.labels:
            samples = samples or {metric.name: 0}
    kind = "histogram" if isinstance(metric, Histogram) else "counter"
    return described(metric.name, metric.help, kind, samples)


def _cumulative(metric: Histogram, kept: Mapping[str, float]) -> dict[str, float]:
    """Prometheus wants each bucket to contain the smaller ones."""
    bounds = [*(f"{bound:g}" for bound in metric.bounds), "+Inf"]
    sums = list(accumulate(kept.get(sample_of(metric.name, {"le": bound}), 0) for bound in bounds))
    buckets = {
        sample_of(f"{metric.name}_bucket", {"le": bound}): sum_
        for bound, sum_ in zip(bounds, sums, strict=True)
    }
    return buckets | {
        f"{metric.name}_sum": kept.get(f"{metric.name}_sum", 0),
        f"{metric.name}_count": sums[-1],
    }


def described(name: str, help_: str, kind: str, samples: Mapping[str, float]) -> list[str]:
    """A metric with its samples in Prometheus' text format."""
    return [
        f"# HELP {name} {help_}",
        f"# TYPE {name} {kind}",
        *(f"{sample} {value:.15g}" for sample, value in samples.items()),
    ]
