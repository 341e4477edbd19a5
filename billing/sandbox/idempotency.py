"""`Idempotency-Key`: the first answer is the answer, for 24 hours of simulated time."""

import hashlib
from dataclasses import asdict, dataclass

from billing.sandbox.errors import ApiError, malformed

LIFE = 86_400


@dataclass
class Answer:
    """What a key was first used for, and what it got; no status while it is in flight."""

    path: str
    fingerprint: str
    at: int
    status: int = 0
    body: str = ""
    request: str = ""


class Keys:
    """The keys that are remembered."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}

    def begin(self, key: str, path: str, body: str, now: int) -> Answer | None:
        """The stored answer for a key, or None after noting that it is in flight; refuses a misused key."""
        if len(key) > 255:
            raise malformed("Idempotency keys can be at most 255 characters long.")
        fingerprint = hashlib.sha256(body.encode()).hexdigest()
        known = self.answers.get(key)
        if known and known.at + LIFE <= now:
            known = None
        if known is None:
            self.answers[key] = Answer(path, fingerprint, now)
            return None
        if known.path != path:
            raise ApiError(
                400,
                "idempotency_error",
                f"Keys for idempotent requests can only be used for the same endpoint they were first used for "
                f"('{path}' vs '{known.path}'). Try using a key other than '{key}' if you meant to execute a "
                f"different request.",
                stored=False,
            )
        if known.fingerprint != fingerprint:
            raise ApiError(
                400,
                "idempotency_error",
                f"Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                stored=False,
            )
        if not known.status:
            raise ApiError(
                409,
                "idempotency_error",
                f"There is currently another in-progress request using this Idempotent Key (that probably means you "
                f"submitted twice, and the other request is still going through): {key}. Please try again later.",
                code="idempotency_key_in_use",
                stored=False,
            )
        return known

    def finish(self, key: str, status: int, body: str, request: str) -> None:
        """Remember the answer, and the request it was given to."""
        if answer := self.answers.get(key):
            answer.status, answer.body, answer.request = status, body, request

    def abandon(self, key: str) -> None:
        """Forget a key whose request did nothing."""
        self.answers.pop(key, None)

    def sweep(self, now: int) -> None:
        """Drop what is past its life."""
        self.answers = {key: each for key, each in self.answers.items() if each.at + LIFE > now}

    def dump(self) -> dict[str, dict[str, object]]:
        """For the state file; what was in flight is not kept."""
        return {key: asdict(each) for key, each in self.answers.items() if each.status}

    def load(self, state: dict[str, dict[str, object]]) -> None:
        """From the state file."""
        self.answers = {key: Answer(**each) for key, each in state.items()}  # type: ignore[arg-type]
