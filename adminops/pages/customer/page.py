"""The customer page as its templates ask for it: each part is read once, when it is asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from adminops.actions import Offer, offered
from adminops.pages.badges import Badge, access_badge, subscription_badge
from adminops.pages.customer.invoices import InvoiceRow, invoice_rows
from adminops.pages.customer.members import Members
from adminops.pages.customer.notes import Notes
from adminops.pages.customer.payments import (
    GivenBackRow,
    MethodRow,
    PaymentRow,
    balance_in_words,
    given_back_rows,
    method_rows,
    payment_rows,
)
from adminops.pages.customer.subscription import SubscriptionCard
from adminops.pages.customer.troubles import Trouble, troubles_of
from billing import mirror
from billing.mirror.whole import NOTHING, Whole, whole
from billing.money import format_money
from billing.one_look import remember
from billing.operations.activate import is_held
from billing.operations.dealings import Dealings, dealings_of
from billing.operations.failed_refunds import REFUNDS_READ
from billing.operations.mirrored_account import DISPUTES_READ, balance_credits_of
from billing.operations.seats import prorations_waiting
from billing.reconciliation.telling import Told, open_of
from billing.stripe_api import StripeObject, configuration_problem
from organizations.models import Hold, Organization, SubscriptionStatus
from organizations.querysets import ADMITTING_STATUSES

INVOICES_SHOWN = 36
MOST_INVOICES = 1_000
PAYMENTS_READ = 100
PAYMENTS_SHOWN = 50


class CustomerPage:
    """One organization. `shows_all_invoices` leaves out none of those that a page can bear."""

    def __init__(
        self,
        organization: Organization,
        user: Any,
        *,
        shows_all_invoices: bool = False,
        member_search: str = "",
    ) -> None:
        self.organization = organization
        self.user = user
        self.invoices_wanted = MOST_INVOICES if shows_all_invoices else INVOICES_SHOWN
        self.members = Members(organization, user, member_search)
        self.notes = Notes(organization, user)

    # -- header -----------------------------------------------------------------------------------------

    @cached_property
    def holds(self) -> list[Hold]:
        found = list(self.organization.open_holds().select_related("placed_by"))
        remember(bool(found), is_held, self.organization.pk)
        return found

    @property
    def access(self) -> Badge:
        return access_badge(self.organization, self.holds)

    @property
    def lets_nobody_in(self) -> bool:
        """Whether no hold, but the state of the subscription keeps members out."""
        return not self.holds and self.organization.subscription_status not in ADMITTING_STATUSES

    @property
    def subscription_badge(self) -> Badge:
        badge = subscription_badge(self.organization)
        if self.organization.subscription_status == SubscriptionStatus.ACTIVE:
            # "Active" stands for access beside it; two equal words would be read as one.
            return Badge(_("Subscription active"), badge.tone, badge.icon)
        return badge

    @property
    def paid_in_all(self) -> str:
        """What the customer paid so far less what went back."""
        return " · ".join(format_money(total, currency) for currency, total in self.mirrored.revenue.items())

    @cached_property
    def actions(self) -> list[Offer]:
        # What they ask before they are offered was read already: holds, the mirror, and the ledger.
        _known = self.holds, self.mirrored, self.dealings
        return offered(self.user, self.organization)

    @property
    def foremost(self) -> list[Offer]:
        """The actions that stand in the open: those most asked for that can be taken now."""
        return [offer for offer in self.actions if offer.action.is_foremost and not offer.refusal]

    @property
    def further(self) -> list[Offer]:
        """The rest: what can be done first, then what cannot, with why."""
        rest = [offer for offer in self.actions if offer not in self.foremost]
        return sorted(rest, key=lambda offer: bool(offer.refusal))

    @property
    def disconnected(self) -> str | None:
        """Why nothing can be changed at Stripe at all, for those who could otherwise."""
        return configuration_problem() if self.actions else None

    # -- what is read, each in one query --------------------------------------------------------------------

    @cached_property
    def mirrored(self) -> Whole:
        """What Stripe has of the customer; within one look, nobody need ask for it again."""
        customer_id, own = self.organization.stripe_customer_id, self.organization.stripe_subscription_id
        if not customer_id:
            return NOTHING
        found = whole(
            customer_id,
            invoices=self.invoices_wanted,
            charges=PAYMENTS_READ,
            refunds=REFUNDS_READ,
            disputes=DISPUTES_READ,
        )
        remember(found.customer or None, mirror.customer, customer_id)
        remember(found.subscriptions, mirror.subscriptions_of, customer_id)
        remember(found.payment_methods, mirror.payment_methods_of, customer_id)
        remember(found.refunds, mirror.refunds_of, customer_id, limit=REFUNDS_READ)
        remember(found.disputes, mirror.disputes_of, customer_id, limit=DISPUTES_READ)
        remember(found.has_paid_invoice, mirror.has_paid_invoice, customer_id)
        if own:
            mine = next((each for each in found.subscriptions if each["id"] == own), None)
            remember(mine, mirror.subscription, own)
        return found

    @cached_property
    def dealings(self) -> Dealings:
        """What our ledger says of how things stand."""
        return dealings_of(self.organization, self.mirrored.refunds)

    # -- the customer and the subscription ----------------------------------------------------------------

    @property
    def stripe_customer(self) -> StripeObject:
        """The customer as the mirror has it; nothing in it where it has none."""
        return self.mirrored.customer

    @property
    def livemode(self) -> bool | None:
        """Whether money is moved for the customer; None where the mirror does not know it."""
        return self.stripe_customer.get("livemode")

    @property
    def is_test(self) -> bool:
        """Whether Stripe keeps the customer in test mode, where no money is moved."""
        return self.livemode is False

    @cached_property
    def subscription(self) -> SubscriptionCard:
        own, found = self.organization.stripe_subscription_id, self.mirrored
        prorated = prorations_waiting(self.dealings.seat_changes, own, found.invoices) if own else 0
        return SubscriptionCard(
            self.organization, found.subscriptions, self.stripe_customer, prorated=prorated
        )

    @property
    def ends_on(self) -> datetime | None:
        return self.subscription.ends_on

    @property
    def pause(self) -> dict[str, Any] | None:
        return self.subscription.pause

    @property
    def seats_used(self) -> int:
        return self.members.seats_used

    @property
    def balance(self) -> tuple[str, str, Badge | None]:
        """What waits on the customer's balance, and what that means."""
        return balance_in_words(self.stripe_customer)

    # -- invoices and payments ----------------------------------------------------------------------------

    @property
    def stripe_invoices(self) -> list[StripeObject]:
        return self.mirrored.invoices

    @property
    def invoice_count(self) -> int:
        """How many there are, however many are shown."""
        return self.mirrored.invoice_count

    @cached_property
    def invoices(self) -> list[InvoiceRow]:
        _known = self.dealings  # what was credited, which the rows ask for
        invoices, charges = self.stripe_invoices, self.mirrored.charges
        # Nobody pays an invoice before there is one.
        are_all = len(charges) < PAYMENTS_READ or (
            bool(invoices) and charges[-1]["created"] < invoices[-1]["created"]
        )
        return invoice_rows(self.organization, invoices, charges if are_all else None)

    @cached_property
    def refund_url(self) -> str:
        """Where an invoice is refunded, for those who may; `?invoice=` says which."""
        offer = next((o for o in self.actions if o.action.name == "refund_invoice" and not o.refusal), None)
        return offer.url if offer else ""

    @cached_property
    def payments(self) -> list[PaymentRow]:
        """The newest attempts to pay."""
        return payment_rows(self.mirrored.charges, self.invoices)[:PAYMENTS_SHOWN]

    @cached_property
    def methods(self) -> list[MethodRow]:
        found = self.mirrored
        return method_rows(found.payment_methods, found.customer, self.subscription.data, found.charges)

    @cached_property
    def given_back(self) -> list[GivenBackRow]:
        """Refunds, credits and credit notes."""
        invoices = self.invoices
        return given_back_rows(self.mirrored.refunds, balance_credits_of(self.organization.pk), invoices)

    @property
    def all_invoices_url(self) -> str:
        """Where those left out are listed: here while a page can bear them; empty where none are."""
        if self.invoice_count <= len(self.invoices):
            return ""
        return "?invoices=all#invoices" if self.invoices_wanted < MOST_INVOICES else self._listed("invoice")

    @property
    def all_payments_url(self) -> str:
        """Where every attempt to pay is listed; empty where none is left out."""
        return self._listed("charge") if len(self.mirrored.charges) > PAYMENTS_SHOWN else ""

    @property
    def all_refunds_url(self) -> str:
        """Where every refund is listed; empty where none is left out."""
        return self._listed("refund") if len(self.mirrored.refunds) >= REFUNDS_READ else ""

    def _listed(self, kind: str) -> str:
        """The list of all that Stripe has of this kind, narrowed to the customer, for those who may see it."""
        if not self.user.has_perm(f"djstripe.view_{kind}"):
            return ""
        query = urlencode({"q": self.organization.stripe_customer_id})
        return f"{reverse(f'admin:djstripe_{kind}_changelist')}?{query}"

    @property
    def events_url(self) -> str:
        listing = reverse("admin:billing_subscriptionevent_changelist")
        return f"{listing}?organization__id__exact={self.organization.pk}"

    @property
    def compared_at(self) -> datetime | None:
        """When this customer was last compared with Stripe; it was read along with the organization."""
        return getattr(self.organization, "compared_at", None)

    @cached_property
    def differences(self) -> list[Told]:
        """Where we hold something else than Stripe, as the last reconciliation found it."""
        return open_of(self.organization)

    @cached_property
    def troubles(self) -> list[Trouble]:
        """What is wrong right now."""
        return troubles_of(self)
