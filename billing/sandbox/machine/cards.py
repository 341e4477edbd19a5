"""The test cards: what each says when it is saved and when it is charged."""

from dataclasses import dataclass

from billing.sandbox.errors import ApiError, declined


@dataclass(frozen=True)
class Card:
    """A test card. `attach` and `charge` name a refusal in REFUSALS; `after` is what happens to a charge later.

    `challenge` says when the bank asks the customer to authenticate: "always", "once" (until it was done), or
    "on_session" (only while the customer is there).
    """

    brand: str
    number: str
    attach: str | None = None
    charge: str | None = None
    after: str | None = None
    funding: str = "credit"
    challenge: str | None = None

    @property
    def last4(self) -> str:
        """The digits people are shown."""
        return self.number[-4:]


# Refusal -> (code, decline_code, message, advice).
REFUSALS: dict[str, tuple[str, str | None, str, str]] = {
    "generic_decline": ("card_declined", "generic_decline", "Your card was declined.", "try_again_later"),
    "insufficient_funds": (
        "card_declined",
        "insufficient_funds",
        "Your card has insufficient funds.",
        "try_again_later",
    ),
    "lost_card": ("card_declined", "lost_card", "Your card was declined.", "do_not_try_again"),
    "stolen_card": ("card_declined", "stolen_card", "Your card was declined.", "do_not_try_again"),
    "card_velocity_exceeded": (
        "card_declined",
        "card_velocity_exceeded",
        "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
        "try_again_later",
    ),
    "expired_card": ("expired_card", None, "Your card has expired.", "confirm_card_data"),
    "incorrect_cvc": ("incorrect_cvc", None, "Your card's security code is incorrect.", "confirm_card_data"),
    "processing_error": (
        "processing_error",
        None,
        "An error occurred while processing your card. Try again in a little bit.",
        "try_again_later",
    ),
    "pickup_card": ("card_declined", "pickup_card", "Your card was declined.", "do_not_try_again"),
    "fraudulent": ("card_declined", "fraudulent", "Your card was declined.", "do_not_try_again"),
    "do_not_honor": ("card_declined", "do_not_honor", "Your card was declined.", "try_again_later"),
    "authentication_required": (
        "authentication_required",
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
        "confirm_card_data",
    ),
}
# After these, only another card can help: retries count, but are not made.
HARD = frozenset({"lost_card", "stolen_card", "pickup_card", "fraudulent", "authentication_required"})


def _always(brand: str, number: str, refusal: str) -> Card:
    return Card(brand, number, attach=refusal, charge=refusal)


CARDS: dict[str, Card] = {
    "visa": Card("visa", "4242424242424242"),
    "visa_debit": Card("visa", "4000056655665556", funding="debit"),
    "mastercard": Card("mastercard", "5555555555554444"),
    "amex": Card("amex", "378282246310005"),
    "discover": Card("discover", "6011111111111117"),
    "mastercard_debit": Card("mastercard", "5200828282828210", funding="debit"),
    "mastercard_prepaid": Card("mastercard", "5105105105105100", funding="prepaid"),
    "diners": Card("diners", "3056930009020004"),
    "jcb": Card("jcb", "3566002020360505"),
    "unionpay": Card("unionpay", "6200000000000005"),
    "bypassPending": Card("visa", "4000000000000077", after="available_at_once"),
    "chargeDeclined": _always("visa", "4000000000000002", "generic_decline"),
    "chargeDeclinedInsufficientFunds": _always("visa", "4000000000009995", "insufficient_funds"),
    "chargeDeclinedLostCard": _always("visa", "4000000000009987", "lost_card"),
    "chargeDeclinedStolenCard": _always("visa", "4000000000009979", "stolen_card"),
    "chargeDeclinedVelocityLimitExceeded": _always("visa", "4000000000006975", "card_velocity_exceeded"),
    "chargeDeclinedExpiredCard": _always("visa", "4000000000000069", "expired_card"),
    "chargeDeclinedIncorrectCvc": _always("visa", "4000000000000127", "incorrect_cvc"),
    "chargeDeclinedProcessingError": _always("visa", "4000000000000119", "processing_error"),
    "chargeDeclinedFraudulent": _always("visa", "4100000000000019", "fraudulent"),
    "chargeCustomerFail": Card("visa", "4000000000000341", charge="generic_decline"),
    "createDispute": Card("visa", "4000000000000259", after="dispute"),
    "createDisputeInquiry": Card("visa", "4000000000001976", after="inquiry"),
    "createDisputeProductNotReceived": Card("visa", "4000000000002685", after="dispute"),
    "pendingRefund": Card("visa", "4000000000007726", after="pending_refund"),
    "refundFail": Card("visa", "4000000000005126", after="refund_fail"),
    "authenticationRequired": Card("visa", "4000002760003184", challenge="always"),
    "authenticationRequiredOnSetup": Card("visa", "4000002500003155", challenge="once"),
    "authenticationRequiredSetupForOffSession": Card("visa", "4000003800000446", challenge="on_session"),
    "authenticationRequiredChargeDeclinedInsufficientFunds": Card(
        "visa", "4000008260003178", charge="insufficient_funds", challenge="always"
    ),
}


def card_of_token(token: str) -> str | None:
    """The name of the card that `pm_card_visa`, `pm_card_visa_chargeDeclined` or `tok_visa` stands for."""
    name = token.removeprefix("pm_card_").removeprefix("tok_")
    name = name if name in CARDS else name.removeprefix("visa_")
    return name if token.startswith(("pm_card_", "tok_")) and name in CARDS else None


def card_of_number(number: str) -> str | None:
    """The name of the card with this number."""
    digits = number.replace(" ", "").replace("-", "")
    return next((name for name, card in CARDS.items() if card.number == digits), None)


def refusal(
    kind: str, *, param: str | None = None, keeps_effects: bool = False, charge: str | None = None
) -> ApiError:
    """The card's no, as the API says it."""
    code, decline_code, message, advice = REFUSALS[kind]
    return declined(
        message,
        code=code,
        decline_code=decline_code,
        param=param,
        keeps_effects=keeps_effects,
        advice_code=advice,
        charge=charge,
    )
