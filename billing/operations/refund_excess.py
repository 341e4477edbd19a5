"""More went back of an invoice than was paid: found out at Stripe, and told to a person.

A refund of ours looks again after it was made (`RefundInvoice.following`) and takes back what it can. What somebody
gives back in Stripe's dashboard after that look is seen here, once Stripe's event of it has been read.
"""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from billing import stripe_api
from billing.alerts import raise_alert
from billing.errors import OutcomeUnknown
from billing.money import format_money
from billing.operations.intent import in_progress, newest_under
from billing.operations.refund_account import Account, read_account
from billing.operations.refund_preview import lock_key_of
from organizations.models import Organization


def tell_of_excess(invoice_id: str) -> None:
    """Raise an alert if more went back of an invoice than was paid; once for each sum.

    Raises OutcomeUnknown while a refund of ours is in progress, which may yet take back what is too much; StripeError.
    """
    key = lock_key_of(invoice_id)
    newest_seen = newest_under(key)
    if held := in_progress(key):
        raise OutcomeUnknown(held)
    invoice = stripe_api.retrieve(invoice_id)
    account = read_account(invoice)
    if account.excess <= 0:
        return
    if newest_under(key) != newest_seen:
        raise OutcomeUnknown(_("A refund of this invoice began meanwhile."))
    with transaction.atomic():
        raise_alert(
            "given_back_too_much",
            f"{invoice_id}:{account.excess}",
            _in_words(account, invoice.get("number") or invoice_id, invoice["currency"]),
            organization=Organization.objects.filter(stripe_customer_id=invoice["customer"]).first(),
        )


def _in_words(account: Account, number: str, currency: str) -> str:
    def money(amount: int) -> str:
        return format_money(amount, currency)

    ways = [
        (account.refunded + account.pending, _("%(sum)s refunded")),
        (account.credited, _("%(sum)s credited")),
        (account.lost, _("%(sum)s taken back by the customer's bank")),
    ]
    return _(
        "Of invoice %(number)s %(excess)s more went back than was paid: %(paid)s was paid, and %(ways)s."
    ) % {
        "number": number,
        "excess": money(account.excess),
        "paid": money(account.paid),
        "ways": ", ".join(words % {"sum": money(amount)} for amount, words in ways if amount),
    }
