"""What can go wrong between us and Stripe, each with what the person reads and what the ledger keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise


class BillingError(Exception):
    """A refusal or a failure, with a sentence for the person and a detail for the ledger."""

    def __init__(self, message: str | Promise, detail: str = "") -> None:
        super().__init__(message, detail)
        self.message = message
        self.detail = detail

    def __str__(self) -> str:
        return str(self.message)


class OperationRefused(BillingError):
    """We refuse: the rules do not allow it. Nothing was attempted."""


@dataclass(frozen=True)
class Attempt:
    """What somebody tried to do, for the ledger."""

    words: str
    """As it follows "tried to": "refund $348.00 of FM35RRW2-0007"."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Ids and amounts of what was tried."""


class NotPermitted(OperationRefused):
    """This person may not do it, or not that much of it. Nothing was attempted."""

    def __init__(self, message: str | Promise, detail: str = "", *, attempt: Attempt | None = None) -> None:
        super().__init__(message, detail)
        self.attempt = attempt
        """What was too much of it, with which limit; None where they may do nothing of the kind."""


class DoneMeanwhile(OperationRefused):
    """Somebody did something here since this person was shown what would happen. Nothing was attempted."""


class PreviewOutdated(OperationRefused):
    """What the person agreed to is no longer what would happen. Nothing was attempted."""


class StripeError(BillingError):
    """Stripe, or the road to it, did not do what was asked."""

    def __init__(
        self, message: str | Promise, detail: str = "", *, code: str = "", raw: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message, detail)
        self.code = code
        self.raw = raw or {}


class StripeRefused(StripeError):
    """Stripe answered no. Nothing changed there."""


class ObjectMissing(StripeRefused):
    """Stripe knows no such object."""


class StripeMisconfigured(StripeError):
    """Our key is missing, wrong, revoked or may not do this. Nothing changed."""


class StripeBusy(StripeError):
    """Stripe asked us to slow down. It did not do the work."""


class StripeUnreachable(StripeError):
    """Stripe heard nothing, because no connection was made, or was only asked and gave no answer. Nothing changed."""


class LeaseLost(Exception):
    """Somebody else reads this customer now, so what was read here must not be written."""


class OutcomeUnknown(StripeError):
    """The request may have reached Stripe, and no usable answer came back: the work may or may not be done."""
