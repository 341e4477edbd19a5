"""`python -m tests.contract`: play a life against a sandbox, check it and whatever else was recorded, print a table."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adminops.demo.supervisor import Program, Supervisor, http_answers
from tests.contract import application
from tests.contract.checking import Check, Key, walked
from tests.contract.description import described
from tests.contract.life import live
from tests.environment import STRIPE_KEY, VAR, free_port

CALLS = VAR / "contract" / "calls"
TABLE = VAR / "contract" / "table.txt"


def main() -> int:
    """0 when every request and reply is valid and every endpoint was walked."""
    check = Check(described())
    check.declarations()
    recording = CALLS / "life.jsonl"
    recording.unlink(missing_ok=True)
    with sandbox("--record", str(recording)) as base:
        live(STRIPE_KEY, base)
    check.recorded(sorted(CALLS.glob("*.jsonl")))
    in_life = walked([recording])
    unwalked = [row.endpoint for key, row in check.rows.items() if key not in in_life]
    uncovered = sorted(set(not_covered(in_life)))
    report = "\n".join([*table(check), *by_the_application(walked(CALLS.glob("application-*.jsonl")))])
    TABLE.write_text(report + "\n", encoding="utf-8")
    print(report)
    for problem, times in sorted(check.problems.items()):
        print(f"invalid, {times} ×: {problem}")
    for endpoint in unwalked:
        print(f"not walked by tests/contract/life.py: {endpoint}")
    for endpoint in uncovered:
        print(f"used by the application and not covered: {endpoint}")
    return int(bool(check.problems or unwalked or uncovered))


def not_covered(walked: set[Key]) -> Iterator[str]:
    """What the application names and was not walked."""
    paths = {path for _, path in walked}
    for method, path, file in application.endpoints():
        # A path in a table of paths is the beginning of one.
        known = (method, path) in walked if method else bool({path, f"{path}/{{}}"} & paths)
        if not known:
            yield f"{method or 'some method'} {path} ({file})"


def by_the_application(walked: set[Key]) -> Iterator[str]:
    """What the application's own tests called, the demo's apart, whose history is made elsewhere."""
    missing = {each for each in not_covered(walked) if "(adminops/demo/" not in each}
    yield f"The application's own tests called {len(walked)} of them, and not: {', '.join(sorted(missing)) or '—'}"


def table(check: Check) -> Iterator[str]:
    """Endpoint, calls seen, parameters seen, valid requests, valid replies."""
    rows = sorted(check.rows.values(), key=lambda row: row.endpoint.split()[::-1])
    yield f"{'endpoint':<56}{'calls':>7}{'parameters':>12}{'valid requests':>18}{'valid replies':>18}"
    for row in rows:
        params = f"{len(row.params)} of {row.declared}"
        requests, replies = share(row.valid_requests, row.requests), share(row.valid_replies, row.replies)
        yield f"{row.endpoint:<56}{row.replies:>7}{params:>12}{requests:>18}{replies:>18}"
    requests = share(sum(row.valid_requests for row in rows), sum(row.requests for row in rows))
    replies = share(sum(row.valid_replies for row in rows), sum(row.replies for row in rows))
    events = share(check.valid_events, sum(check.events.values()))
    yield ""
    yield f"{len(rows)} endpoints: requests {requests}, replies {replies}; events of {len(check.events)} types {events}"


def share(valid: int, seen: int) -> str:
    """How many of how many, and whether that is all."""
    return f"{valid}/{seen} {valid / seen:.0%}" if seen else "—"


@contextmanager
def sandbox(*arguments: str) -> Iterator[str]:
    """A sandbox of its own; its address."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    program = Program(
        name="the sandbox Stripe",
        command=[sys.executable, "-m", "billing.sandbox", "--port", str(port), *arguments],
        log=VAR / "log" / "contract-sandbox.log",
        ready=lambda: http_answers(f"{base}/_sandbox/health"),
    )
    Path(CALLS).mkdir(parents=True, exist_ok=True)
    with Supervisor(take_signals=False) as supervisor:
        supervisor.start_ready(program)
        yield base


if __name__ == "__main__":
    sys.exit(main())
