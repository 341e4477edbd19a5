"""Whether a body is Stripe's: its signature, verified with Stripe's own code. Nothing is called."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import stripe


class Verdict(StrEnum):
    """What a signature says about a body."""

    SIGNED = "signed"
    STALE = "stale"
    """Stripe's, and too old: sent again by somebody else, or the clocks are off."""
    FORGED = "forged"


def verify(body: str, signature: str, secrets: Sequence[str], tolerance: int) -> Verdict:
    """Whether Stripe's header `signature` fits `body` under one of `secrets`, at most `tolerance` seconds ago."""
    if any(_fits(body, signature, secret, tolerance) for secret in secrets):
        return Verdict.SIGNED
    if any(_fits(body, signature, secret, None) for secret in secrets):
        return Verdict.STALE
    return Verdict.FORGED


def _fits(body: str, signature: str, secret: str, tolerance: int | None) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret, tolerance)
    except (stripe.SignatureVerificationError, ValueError, TypeError):
        return False  # a header that is no header fails in more ways than one
    return True
