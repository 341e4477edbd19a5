"""What each kind of customer does, and when.

A story is a generator: it yields the moment (unix seconds) of its next act, and acts when it is resumed then. So the
stories of sixty companies interleave in the order of time, and each act sees what Stripe has become by then.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from adminops.demo.history.companies import INTERVALS, PLANS, SUPPORT_YEARLY, Company
from adminops.demo.history.shop import Shop, StripeObject

DAY = 86_400
HOUR = 3_600
GOOD_CARDS = ("pm_card_visa", "pm_card_mastercard", "pm_card_visa_debit", "pm_card_amex")
# Saved without complaint, declined whenever it is charged.
FAILING_CARD = "pm_card_chargeCustomerFail"
# Young customers have been given a place in the product already; of the oldest, Stripe knows the name only.
SLUG_KEPT_SINCE_MONTHS = 16

type Story = Iterator[int]


def months_before(moment: int, months: int) -> int:
    """The same time of the same day, so many calendar months earlier; no later day than the 28th."""
    then = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    years, month = divmod(then.year * 12 + then.month - 1 - months, 12)
    return int(then.replace(year=years, month=month + 1, day=min(then.day, 28)).timestamp())


class Catalogue:
    """The three plans, their prices by plan, currency and interval, and the one thing that is not sold by the seat."""

    def __init__(self, shop: Shop) -> None:
        self.prices: dict[tuple[str, str, str], str] = {}
        for plan, amounts in PLANS.items():
            product = shop.post("products", name=plan, unit_label="seat", metadata={"seats": "true"})
            for currency, amount in amounts.items():
                for interval, months in INTERVALS.items():
                    price = shop.post(
                        "prices",
                        product=product["id"],
                        currency=currency,
                        unit_amount=amount * months,
                        recurring={"interval": interval},
                    )
                    self.prices[plan, currency, interval] = price["id"]
        support = shop.post("products", name="Priority support")
        self.support: str = shop.post(
            "prices",
            product=support["id"],
            currency="usd",
            unit_amount=SUPPORT_YEARLY,
            recurring={"interval": "year"},
        )["id"]


class Life:
    """One company's dealings with Stripe."""

    def __init__(
        self, company: Company, shop: Shop, catalogue: Catalogue, *, until: int, random: Random
    ) -> None:
        self.company = company
        self.shop = shop
        self.catalogue = catalogue
        self.until = until
        self.random = random
        self.joined = months_before(self.days_ago(company.billed), company.months)
        self.customer = ""
        self.subscription = ""
        self.seats = company.seats

    # -- moments ------------------------------------------------------------------------------------------

    def days_ago(self, days: float) -> int:
        """A moment of an office day, so many days before the end."""
        day = int(self.until - days * DAY) // DAY * DAY
        return min(day + self.random.randrange(8 * HOUR, 18 * HOUR), self.until - 2 * HOUR)

    def after(self, days: float) -> int:
        """A moment so many days after the company joined."""
        return min(self.joined + int(days * DAY) + self.random.randrange(4 * HOUR), self.until - HOUR)

    def some_moments(self, count: int, *, first: float = 9) -> list[int]:
        """`count` moments between `first` days after joining and the end, in order."""
        begin, end = self.after(first), self.until - HOUR
        return sorted(self.random.randrange(begin, end) for _ in range(count)) if begin < end else []

    # -- acts ---------------------------------------------------------------------------------------------

    def sign_up(self, card: str | None, *, also: Sequence[str] = (), **subscription: Any) -> None:
        """Become a customer, with a card if one is told, and subscribe to seats and to the prices in `also`."""
        company = self.company
        known = {"organization": company.slug} if company.months < SLUG_KEPT_SINCE_MONTHS else {}
        payment = (
            {"payment_method": card, "invoice_settings": {"default_payment_method": card}} if card else {}
        )
        self.customer = self.shop.post(
            "customers",
            name=company.name,
            email=company.email,
            address={"country": company.country},
            metadata=known,
            **payment,
        )["id"]
        self.subscription = self.shop.post(
            "subscriptions",
            customer=self.customer,
            items=[
                {"price": self._price(company.plan, company.interval), "quantity": self.seats},
                *({"price": price} for price in also),
            ],
            **subscription,
        )["id"]

    def change_seats(self, seats: int, *, at_once: bool = False) -> None:
        """Have so many seats, prorated; billed at once or with the next invoice."""
        if seats == self.seats:
            return
        self._change_item(quantity=seats, proration_behavior="always_invoice" if at_once else None)
        self.seats = seats

    def change_price(self, plan: str, interval: str) -> None:
        """Move to another plan or interval, prorated and billed at once."""
        self._change_item(
            price=self._price(plan, interval), quantity=self.seats, proration_behavior="always_invoice"
        )

    def _change_item(self, proration_behavior: str | None, **change: Any) -> None:
        item = self.shop.get(f"subscriptions/{self.subscription}")["items"]["data"][0]["id"]
        how = {"proration_behavior": proration_behavior} if proration_behavior else {}
        self.update(items=[{"id": item, **change}], **how)

    def _price(self, plan: str, interval: str) -> str:
        return self.catalogue.prices[plan, self.company.currency, interval]

    def update(self, **params: Any) -> None:
        """Change the subscription."""
        self.shop.post(f"subscriptions/{self.subscription}", **params)

    def cancel(self, **params: Any) -> None:
        """End the subscription at once."""
        self.shop.delete(f"subscriptions/{self.subscription}", **params)

    def change_card(self, card: str) -> None:
        """Save another card and have invoices charged to it."""
        method = self.shop.post(f"payment_methods/{card}/attach", customer=self.customer)
        self.shop.post(
            f"customers/{self.customer}", invoice_settings={"default_payment_method": method["id"]}
        )

    def invoices(self, status: str) -> list[StripeObject]:
        """The newest invoices of one status, newest first."""
        found: list[StripeObject] = self.shop.get("invoices", customer=self.customer, status=status)["data"]
        return found

    def pay_arrears(self, **how: Any) -> None:
        """Pay every open invoice."""
        for invoice in self.invoices("open"):
            self.shop.post(f"invoices/{invoice['id']}/pay", **how)

    def last_payment(self) -> tuple[str, int]:
        """The payment intent of the newest invoice that took money, and how much it took."""
        invoice = next(each for each in self.invoices("paid") if each["amount_paid"])
        payments = self.shop.get("invoice_payments", invoice=invoice["id"], status="paid")["data"]
        return payments[0]["payment"]["payment_intent"], invoice["amount_paid"]


# -- parts of stories -------------------------------------------------------------------------------------


def join(life: Life, card: str | None = "", **subscription: Any) -> Story:
    """Sign up, with a good card unless told otherwise."""
    yield life.joined
    life.sign_up(life.random.choice(GOOD_CARDS) if card == "" else card, **subscription)


def adjust_seats(life: Life, moments: list[int]) -> Story:
    """Grow most of the time, and shrink now and then."""
    for moment in moments:
        yield moment
        most = max(2, life.seats // 4)
        by = life.random.choice((1, 1, 2, most, -1, -2))
        life.change_seats(max(2, life.seats + by), at_once=life.random.random() < 0.25)


def grow(life: Life, until: int, *, most: int = 4) -> Story:
    """A few changes of seats until a moment."""
    count = life.random.randint(0, min(most, 1 + life.company.months // 3))
    yield from adjust_seats(life, [moment for moment in life.some_moments(count) if moment < until])


# -- stories ----------------------------------------------------------------------------------------------


def northwind(life: Life) -> Story:
    """The customer of the tour: a good card, eight seats."""
    yield from join(life, "pm_card_visa")
    for moment, seats in (
        (life.days_ago(390), 7),
        (life.days_ago(300), 6),
        (life.days_ago(160), 9),
        (life.days_ago(24), 8),
    ):
        yield moment
        life.change_seats(seats)


def steady(life: Life) -> Story:
    """Pays, and grows a little."""
    yield from join(life)
    yield from grow(life, life.until)


def buys_support(life: Life) -> Story:
    """Pays by the seat, and for support besides: two licensed items, of which one is the seats."""
    yield from join(life, also=[life.catalogue.support])
    yield from grow(life, life.until)


def upgrades(life: Life) -> Story:
    """Moves to the next plan half way."""
    yield from join(life)
    yield life.after((life.until - life.joined) / DAY * 0.6)
    plans = list(PLANS)
    life.change_price(plans[plans.index(life.company.plan) + 1], life.company.interval)
    yield life.days_ago(life.random.randint(1, 20))
    life.change_seats(life.seats + 2, at_once=True)


def goes_yearly(life: Life) -> Story:
    """Pays by the month for a while, then by the year."""
    yield from join(life)
    yield life.days_ago(70)
    life.change_price(life.company.plan, "year")
    yield life.days_ago(18)
    life.change_seats(life.seats + 3)


def downsizes(life: Life) -> Story:
    """Shrinks in two steps."""
    yield from join(life)
    for days, seats in ((120, 5), (15, 4)):
        yield life.days_ago(days)
        life.change_seats(seats)


def trial_then_pays(life: Life) -> Story:
    """Tries for a fortnight, and stays. Its months are counted from the trial's end."""
    life.joined -= 14 * DAY
    yield from join(life, None, trial_period_days=14)
    yield life.after(11)
    life.change_card(life.random.choice(GOOD_CARDS))
    yield from grow(life, life.until, most=3)


def trialing(life: Life) -> Story:
    """Tries, with a card already saved."""
    yield from join(life, trial_period_days=14)


def trialing_without_card(life: Life) -> Story:
    """Tries, and has not said how it would pay."""
    ends = {"end_behavior": {"missing_payment_method": "cancel"}}
    yield from join(life, None, trial_period_days=21, trial_settings=ends)


def trial_lapses(life: Life) -> Story:
    """Tried, gave no card, and so the trial was all there was."""
    ends = {"end_behavior": {"missing_payment_method": "cancel"}}
    yield from join(life, None, trial_period_days=14, trial_settings=ends)


def falls_behind(life: Life) -> Story:
    """Its latest billing day found a card that is declined; Stripe is still trying."""
    yield from join(life)
    before = life.days_ago(life.company.billed + 8)
    yield from grow(life, before, most=2)
    yield before
    life.change_card(FAILING_CARD)


def replaces_card(life: Life) -> Story:
    """Was past due for days, then gave a card that works and paid what was open."""
    yield from join(life)
    yield life.days_ago(life.company.billed + 6)
    life.change_card(FAILING_CARD)
    yield life.days_ago(life.company.billed - 5)
    life.change_card("pm_card_mastercard")
    life.pay_arrears()


def collapses(life: Life) -> Story:
    """Its card was declined until Stripe gave up and cancelled."""
    yield from join(life)
    yield life.days_ago(life.company.billed + 40)
    life.change_card(FAILING_CARD)


def leaves_at_period_end(life: Life) -> Story:
    """Gave notice, used what was paid for, and is gone."""
    yield from join(life)
    yield life.days_ago(100)
    life.update(cancel_at_period_end=True, cancellation_details={"feedback": "missing_features"})


def will_leave(life: Life) -> Story:
    """Has given notice; its period is not over yet."""
    yield from join(life)
    yield from grow(life, life.days_ago(life.company.billed + 3), most=2)
    yield life.days_ago(life.random.uniform(1, life.company.billed - 1))
    life.update(cancel_at_period_end=True, cancellation_details={"feedback": "too_expensive"})


def changes_mind(life: Life) -> Story:
    """Gave notice, was talked to, and stays."""
    yield from join(life)
    yield life.days_ago(13)
    life.update(cancel_at_period_end=True, cancellation_details={"feedback": "unused"})
    yield life.days_ago(9)
    life.update(cancel_at_period_end=False)
    yield life.days_ago(8)
    life.change_seats(life.seats - 6)


def leaves_at_once(life: Life) -> Story:
    """Ended at once, and the unused rest of the period went to its balance."""
    yield from join(life)
    yield life.days_ago(life.company.billed - 2)
    life.cancel(prorate=True, invoice_now=True, cancellation_details={"feedback": "switched_service"})


def refunded_in_part(life: Life) -> Story:
    """Complained about an outage and got a fifth of a payment back."""
    yield from join(life)
    yield life.days_ago(life.company.billed - 3)
    payment, amount = life.last_payment()
    life.shop.post("refunds", payment_intent=payment, amount=amount // 5, reason="requested_by_customer")


def refunded_in_full(life: Life) -> Story:
    """Was billed for a month it had asked not to have, and got all of it back."""
    yield from join(life)
    yield from grow(life, life.days_ago(life.company.billed + 20), most=2)
    yield life.days_ago(life.company.billed - 6)
    payment, _ = life.last_payment()
    life.shop.post("refunds", payment_intent=payment, reason="duplicate")


def disputed(life: Life) -> Story:
    """Pays, but its bank has taken the latest payment back and waits for an answer."""
    yield from join(life)
    yield life.days_ago(4)
    payment, _ = life.last_payment()
    life.shop.dispute(life.shop.get(f"payment_intents/{payment}")["latest_charge"], "product_not_received")


def credited(life: Life) -> Story:
    """Was given a credit, which its next invoices use up."""
    yield from join(life)
    yield life.days_ago(life.company.billed + 12)
    life.shop.post(
        f"customers/{life.customer}/balance_transactions",
        amount=-5000,
        currency=life.company.currency,
        description="For the outage in spring",
    )


def pays_by_invoice(life: Life) -> Story:
    """Is sent an invoice and pays it by bank transfer within a month; the latest is not due yet."""
    yield from join(life, None, collection_method="send_invoice", days_until_due=30)
    yield life.after(20)
    life.pay_arrears(paid_out_of_band=True)


STORIES: dict[str, Callable[[Life], Story]] = {
    story.__name__: story
    for story in (
        northwind,
        steady,
        buys_support,
        upgrades,
        goes_yearly,
        downsizes,
        trial_then_pays,
        trialing,
        trialing_without_card,
        trial_lapses,
        falls_behind,
        replaces_card,
        collapses,
        leaves_at_period_end,
        will_leave,
        changes_mind,
        leaves_at_once,
        refunded_in_part,
        refunded_in_full,
        disputed,
        credited,
        pays_by_invoice,
    )
}
