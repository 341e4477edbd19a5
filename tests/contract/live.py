"""`make contract-live`: the same script against Stripe in test mode and against the sandbox, and what differs.

Wants a key of one's own in STRIPE_CONTRACT_KEY. STRIPE_CONTRACT_BASE names another server than Stripe's, to try the
comparison itself. Everything that was made is taken away at the end; prices and products can only be archived.
"""

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from tests.contract.__main__ import sandbox
from tests.contract.script import Made, play
from tests.contract.stage import Stage, Step, Unplayable
from tests.environment import STRIPE_KEY

KEY = "STRIPE_CONTRACT_KEY"
# Values that have to be the same at both; of all others only the shape.
TELLING = re.compile(
    r"(^|\.)(object|status|currency|quantity|quantity_decimal|code|type|param|decline_code|reason|billing_reason|has_more|"
    r"collection_method|cancel_at_period_end|auto_advance|attempted|attempt_count|paid|proration|deleted|interval|"
    r"(\w+_)?amount(_\w+)?|(sub)?total|percent_off|duration(_in_months)?|livemode|metadata\.\w+|balance)$"
)
# Maps with keys of somebody's own, or that depend on the account.
OWN = re.compile(
    r"^account\b|\.(capabilities|settings|payment_method_details|outcome|checks|radar_options)\b"
)


def main() -> int:
    """0 when nothing differs."""
    key, base = os.environ.get(KEY, ""), os.environ.get("STRIPE_CONTRACT_BASE")
    if reason := refusal(key):
        print(reason, file=sys.stderr)
        return 2
    theirs = played(key, base)
    with sandbox() as own:
        ours = played(STRIPE_KEY, own)
    found = list(differences(theirs, ours))
    print("\n".join(found))
    print(
        f"\n{len(theirs)} steps at {base or 'Stripe'}, {len(ours)} at the sandbox: {len(found)} differences"
    )
    return int(bool(found))


def refusal(key: str) -> str | None:
    """Why this is not done with that key."""
    if not key:
        return f"Set {KEY} to a secret key in test mode (sk_test_…); this script makes and deletes things with it."
    if not re.match(r"(sk|rk)_test_\w+$", key):
        return f"{KEY} is not a key in test mode (sk_test_… or rk_test_…): nothing was done."
    return None


def played(key: str, base: str | None) -> list[Step]:
    """The steps of the script; what was made is taken away even when the script breaks off."""
    stage, made = Stage(key, base), Made()
    try:
        play(stage, made)
    except Unplayable as stop:
        print(f"The script broke off at {base or 'Stripe'}: {stop}", file=sys.stderr)
    finally:
        for left in made.clean_up():
            print(f"Left behind at {base or 'Stripe'}: {left}", file=sys.stderr)
    return stage.steps


def differences(theirs: list[Step], ours: list[Step]) -> Iterator[str]:
    """What differs, step by step: status, fields, types of fields, telling values."""
    for number, (one, other) in enumerate(zip(theirs, ours, strict=False), start=1):
        place = f"{number:>3} {one.name}"
        if one.name != other.name:
            yield f"{place}: the sandbox plays {other.name} instead; the rest is not compared"
            return
        if one.status != other.status:
            yield f"{place}: HTTP {one.status} at Stripe, {other.status} here"
        left, right = dict(leaves(one.answer, one.name)), dict(leaves(other.answer, one.name))
        for path in sorted(left.keys() | right.keys()):
            what = path.removeprefix(f"{one.name}.")
            if OWN.search(path):
                continue
            if path not in right:
                yield f"{place}: {what} is missing here"
            elif path not in left:
                yield f"{place}: {what} is not at Stripe"
            elif left[path] != right[path] and (
                TELLING.search(path) or kind(left[path]) != kind(right[path])
            ):
                yield f"{place}: {what} is {left[path]!r} at Stripe, {right[path]!r} here"
    if len(theirs) != len(ours):
        yield f"{abs(len(theirs) - len(ours))} steps were played at one of them only"


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value by its path; of a list, the first item stands for all."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list) and value:
        yield from leaves(value[0], f"{path}[]")
    else:
        yield path, value


def kind(value: Any) -> str:
    """What sort of value it is: an id by its prefix, the others by their type."""
    if isinstance(value, str) and (found := re.match(r"([a-z]+)_[A-Za-z0-9_]{8,}$", value)):
        return f"id of {found[1]}"
    return type(value).__name__


if __name__ == "__main__":
    sys.exit(main())
