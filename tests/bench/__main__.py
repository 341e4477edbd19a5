"""The command line of the benchmarks."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable

from tests.bench import (
    Row,
    access,
    admin_pages,
    bulk_seats,
    event_to_state,
    reconcile,
    road,
    sandbox,
    webhook_door,
)
from tests.environment import VAR

BENCHMARKS: dict[str, Callable[[], Iterable[Row]]] = {
    "sandbox": sandbox.measure,
    "access": access.measure,
    "bulk_seats": bulk_seats.measure,
    "reconcile": reconcile.measure,
    "reconcile_beside": reconcile.measure_beside,
    "admin_pages": admin_pages.measure,
    "webhook_door": webhook_door.measure,
    "event_to_state": event_to_state.measure,
    "road": road.measure,
}


def main() -> int:
    """Run the benchmarks; 0 whether or not goals are reached, since a busy machine is no failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure how fast things are.")
    parser.add_argument("--only", choices=BENCHMARKS, help="run this one only")
    only = parser.parse_args().only
    rows = []
    for name in [only] if only else BENCHMARKS:
        for row in BENCHMARKS[name]():
            rows.append(row)
            print(line(row), flush=True)
    VAR.mkdir(exist_ok=True)
    (VAR / "bench.json").write_text(json.dumps([row.as_dict() for row in rows], indent=2) + "\n")
    print(f"\nWritten to {VAR / 'bench.json'}")
    return 0


def line(row: Row) -> str:
    """A row of the table."""
    parts = [f"{row.name:<12} {row.measure:<34} {number(row.ours):>9} {row.unit:<4}"]
    goal = row.goal if row.goal is not None else row.most
    parts.append(f"goal {number(goal)} {'✓' if row.reached else '✗'}" if goal is not None else "")
    if row.peer is not None:
        parts.append(f"peer {number(row.peer)}" + (f" (× {row.ratio:.2f})" if row.ratio is not None else ""))
    return "  ".join(filter(None, parts))


def number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
