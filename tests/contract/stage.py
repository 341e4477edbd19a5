"""Where a script is played: a Stripe, by its address and key, and what every step was answered."""

import time
from dataclasses import dataclass, field
from typing import Any

import stripe

from tests.contract.description import VERSION

type Answer = dict[str, Any]


class Unplayable(Exception):
    """A step that the next ones need was refused."""


@dataclass
class Step:
    """One call by name, and its status and answer."""

    name: str
    status: int
    answer: Answer
    headers: dict[str, str] = field(default_factory=dict)


class Stage:
    """Plays steps and remembers them. `base` None is Stripe itself."""

    def __init__(self, key: str, base: str | None = None) -> None:
        options: Any = {"base_addresses": {"api": base}} if base else {}
        self._client = stripe.StripeClient(key, stripe_version=VERSION, max_network_retries=1, **options)
        self.steps: list[Step] = []
        self.patience = 0.05 if base else 2.0

    def get(self, name: str, path: str, /, **params: Any) -> Answer:
        """Read."""
        return self._play(name, "get", path, params)

    def post(self, name: str, path: str, /, key: str | None = None, **params: Any) -> Answer:
        """Make or change."""
        return self._play(name, "post", path, params, key=key)

    def delete(self, name: str, path: str, /, **params: Any) -> Answer:
        """Delete or cancel."""
        return self._play(name, "delete", path, params)

    def refused(self, name: str, method: str, path: str, /, key: str | None = None, **params: Any) -> Answer:
        """A call that has to be refused."""
        return self._play(name, method, path, params, key=key, fails=True)

    def advance(self, clock: str, to: int) -> None:
        """Move a test clock and wait until it is there."""
        self.post("advance the clock", f"test_helpers/test_clocks/{clock}/advance", frozen_time=to)
        for _ in range(200):
            found = self._send("get", f"test_helpers/test_clocks/{clock}", {}, None)
            if found.data["status"] == "ready":
                return
            time.sleep(self.patience)
        raise Unplayable("the test clock did not arrive")

    def _play(
        self,
        name: str,
        method: str,
        path: str,
        params: dict[str, Any],
        *,
        key: str | None = None,
        fails: bool = False,
    ) -> Answer:
        try:
            answer = self._send(method, path, params, key)
            step = Step(name, 200, answer.data, dict(answer.headers))
        except stripe.StripeError as error:
            body: Any = (
                error.json_body if isinstance(error.json_body, dict) else {"error": {"message": str(error)}}
            )
            step = Step(name, error.http_status or 0, body, dict(error.headers or {}))
        self.steps.append(step)
        if (step.status != 200) != fails:
            raise Unplayable(f"{name}: {method.upper()} /v1/{path} {params}: {step.status} {step.answer}")
        return step.answer

    def _send(self, method: str, path: str, params: dict[str, Any], key: str | None) -> Any:
        options = {"idempotency_key": key} if key else {}
        return self._client.raw_request(method, f"/v1/{path}", **params, **options)
