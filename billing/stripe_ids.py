"""What Stripe's ids say by themselves."""

from __future__ import annotations

# Prefixes with an underscore of their own; every other ends at the first one.
_LONGER = ("sub_sched",)


def prefix_of(stripe_id: str) -> str:
    """The kind that an id names: `sub` of sub_1, `sub_sched` of sub_sched_1; the whole where it names none."""
    return next(
        (longer for longer in _LONGER if stripe_id.startswith(f"{longer}_")), stripe_id.split("_", 1)[0]
    )


def normal(term: str) -> str:
    """An id as Stripe writes it, whoever wrote its kind in capitals; the rest tells capitals apart."""
    kind, underscore, rest = term.partition("_")
    return f"{kind.lower()}{underscore}{rest}"
