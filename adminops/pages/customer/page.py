"""The customer page as its templates ask for it: each part is read once, when it is asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

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
from adminops.pages.troubles import Trouble, troubles_of
from billing import mirror
from billing.money import format_money
from billing.one_look import remember
from billing.operations.failed_refunds import REFUNDS_READ
from billing.operations.mirrored_account import balance_credits_of
from billing.stripe_api import StripeObject, configuration_problem
from organizations.models import Hold, Organization, SubscriptionStatus

INVOICES_SHOWN = 36
PAYMENTS_SHOWN = 50


class CustomerPage:
    """One organization. `shows_all_invoices` leaves out none, however many there are."""

    def __init__(self, organization: Organization, user: Any, *, shows_all_invoices: bool = False) -> None:
        self.organization = organization
        self.user = user
        self.invoices_wanted = None if shows_all_invoices else INVOICES_SHOWN
        self.members = Members(organization)
        self.notes = Notes(organization, user)

    # -- header -----------------------------------------------------------------------------------------

    @cached_property
    def holds(self) -> list[Hold]:
        return list(self.organization.open_holds().select_related("placed_by"))

    @property
    def access(self) -> Badge:
        return access_badge(self.holds)

    @property
    def subscription_badge(self) -> Badge:
        badge = subscription_badge(self.organization)
        if self.organization.subscription_status == SubscriptionStatus.ACTIVE:
            # "Active" stands for access beside it; two equal words would be read as one.
            return Badge(_("Subscription active"), badge.tone, badge.icon)
        return badge

    @cached_property
    def paid_in_all(self) -> str:
        """What the customer paid so far less what went back."""
        customer_id = self.organization.stripe_customer_id
        sums = mirror.revenue_of(customer_id) if customer_id else {}
        return " · ".join(format_money(total, currency) for currency, total in sums.items())

    @cached_property
    def actions(self) -> list[Offer]:
        if (own := self.subscription.data) is not None:
            remember(own, mirror.subscription, own["id"])
        if any(each.get("status") == "paid" and each["total"] > 0 for each in self.stripe_invoices):
            remember(True, mirror.has_paid_invoice, self.organization.stripe_customer_id or "")
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

    # -- the customer and the subscription ----------------------------------------------------------------

    @cached_property
    def stripe_customer(self) -> StripeObject:
        """The customer as the mirror has it; nothing in it where it has none."""
        customer_id = self.organization.stripe_customer_id
        return (mirror.customer(customer_id) if customer_id else None) or {}

    @property
    def is_test(self) -> bool:
        """Whether Stripe keeps the customer in test mode, where no money is moved."""
        return self.stripe_customer.get("livemode") is False

    @cached_property
    def subscription(self) -> SubscriptionCard:
        customer_id = self.organization.stripe_customer_id
        found = mirror.subscriptions_of(customer_id) if customer_id else []
        return SubscriptionCard(self.organization, found, self.stripe_customer)

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

    @cached_property
    def stripe_invoices(self) -> list[StripeObject]:
        customer_id = self.organization.stripe_customer_id
        return mirror.invoices_of(customer_id, limit=self.invoices_wanted) if customer_id else []

    @cached_property
    def invoice_count(self) -> int:
        """How many there are, however many are shown."""
        customer_id, shown = self.organization.stripe_customer_id, len(self.stripe_invoices)
        if not customer_id or self.invoices_wanted is None or shown < self.invoices_wanted:
            return shown
        return mirror.count_invoices_of(customer_id)

    @cached_property
    def invoices(self) -> list[InvoiceRow]:
        are_all = len(self._charges) < PAYMENTS_SHOWN
        return invoice_rows(self.organization, self.stripe_invoices, self._charges if are_all else None)

    @cached_property
    def refund_url(self) -> str:
        """Where an invoice is refunded, for those who may; `?invoice=` says which."""
        offer = next((o for o in self.actions if o.action.name == "refund_invoice" and not o.refusal), None)
        return offer.url if offer else ""

    @cached_property
    def _charges(self) -> list[StripeObject]:
        customer_id = self.organization.stripe_customer_id
        return mirror.charges_of(customer_id, limit=PAYMENTS_SHOWN) if customer_id else []

    @cached_property
    def payments(self) -> list[PaymentRow]:
        """The newest attempts to pay."""
        return payment_rows(self._charges, self.invoices)

    @cached_property
    def methods(self) -> list[MethodRow]:
        customer_id = self.organization.stripe_customer_id
        if not customer_id:
            return []
        found = mirror.payment_methods_of(customer_id)
        return method_rows(found, self.stripe_customer, self.subscription.data, self._charges)

    @cached_property
    def given_back(self) -> list[GivenBackRow]:
        """Refunds, credits and credit notes."""
        customer_id = self.organization.stripe_customer_id
        if not customer_id:
            return []
        refunds = mirror.refunds_of(customer_id, limit=REFUNDS_READ)
        return given_back_rows(refunds, balance_credits_of(self.organization.pk), self.invoices)

    @property
    def events_url(self) -> str:
        listing = reverse("admin:billing_subscriptionevent_changelist")
        return f"{listing}?organization__id__exact={self.organization.pk}"

    @cached_property
    def troubles(self) -> list[Trouble]:
        """What is wrong right now."""
        return troubles_of(self)
