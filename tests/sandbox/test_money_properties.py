"""What must hold of money whatever happens: a chance decides (tests/seeds.py)."""

import random
from fractions import Fraction
from typing import Any

import stripe

from tests.seeds import seeded

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
END = START + 31 * DAY
CURRENCIES = ("usd", "eur", "jpy", "kwd")
COMPARED = ("subtotal", "total", "total_excluding_tax", "amount_due", "starting_balance", "ending_balance")


class Story:
    """A customer with a subscription, of a chance's making."""

    def __init__(self, sandbox: Any, api: Any, shop: Any, seed: int, *, discounted: bool = True) -> None:
        self.sandbox, self.api = sandbox, api
        self.chance = random.Random(seed)
        self.currency = self.chance.choice(CURRENCIES)
        self.now = START
        sandbox.clock(START)
        self.discounts = self.make_discounts() if discounted else []
        self.coupons = dict(self.discounts)
        self.unit = self.chance.randint(60, 20_000)
        self.seats = self.chance.randint(1, 40)
        self.price = shop.price(self.unit, currency=self.currency)
        self.customer = shop.customer().id
        self.subscription = api.subscriptions.create(
            {
                "customer": self.customer,
                "items": [{"price": self.price.id, "quantity": self.seats}],
                "discounts": [{"coupon": id} for id, _ in self.discounts],
                "expand": ["latest_invoice"],
            }
        )
        self.item = self.subscription["items"].data[0].id

    def make_discounts(self) -> list[tuple[str, Any]]:
        """None, one or two coupons."""
        made = []
        for _ in range(self.chance.choice([0, 1, 1, 2])):
            if self.chance.random() < 0.6:
                off = self.chance.choice([10, 12.5, 33.33, 50, 99])
                fields: dict[str, Any] = {"percent_off": off}
            else:
                off = self.chance.randint(1, 30_000)
                fields = {"amount_off": off, "currency": self.currency}
            months: dict[str, Any] = {
                "duration": "repeating",
                "duration_in_months": self.chance.randint(1, 3),
            }
            hows: list[dict[str, Any]] = [{"duration": "forever"}, {"duration": "once"}, months]
            how = self.chance.choice(hows)
            made.append((self.api.coupons.create({**fields, **how}).id, off))
        return made

    def later(self, most: int = 6 * DAY) -> int:
        """Let some time pass within the period."""
        self.now = min(self.now + self.chance.randint(1, most), END - 1)
        self.sandbox.clock(self.now)
        return self.now

    def change(self, behavior: str = "always_invoice", **more: Any) -> dict[str, Any]:
        """Another number of seats, now."""
        self.seats = self.chance.choice([seats for seats in range(1, 60) if seats != self.seats])
        items = [{"id": self.item, "quantity": self.seats, **more}]
        return {"items": items, "proration_behavior": behavior, "proration_date": self.now}

    def apply(self, change: dict[str, Any]) -> Any:
        """The subscription after a change, with its latest invoice."""
        return self.api.subscriptions.update(self.subscription.id, {**change, "expand": ["latest_invoice"]})

    def invoices(self) -> list[Any]:
        """Every invoice of the customer."""
        found: list[Any] = self.api.invoices.list({"customer": self.customer, "limit": 100}).data
        return found


def told(invoice: Any) -> list[Any]:
    """What an invoice's lines say, but for ids."""
    return [
        (
            line.description,
            line.amount,
            [each.amount for each in line.discount_amounts],
            line.period.to_dict(),
        )
        for line in invoice.lines.data
    ]


def assert_whole(value: Any, name: str = "") -> None:
    """No number is a fraction, but for percentages."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key != "percent_off":
                assert_whole(each, f"{name}.{key}")
    elif isinstance(value, list):
        for each in value:
            assert_whole(each, name)
    else:
        assert not isinstance(value, float), name


def assert_adds_up(invoice: Any) -> None:
    """An invoice's own sums."""
    lines = invoice.lines.data
    assert invoice.subtotal == sum(line.amount for line in lines)
    off = sum(each.amount for each in invoice.total_discount_amounts)
    assert off == sum(each.amount for line in lines for each in line.discount_amounts)
    assert invoice.total == invoice.subtotal - off
    assert 0 <= off <= max(0, sum(line.amount for line in lines if line.amount > 0))
    assert invoice.amount_paid + invoice.amount_remaining == invoice.amount_due
    if invoice.ending_balance is not None:
        assert invoice.total + invoice.starting_balance == invoice.amount_due + invoice.ending_balance
    assert_whole(invoice.to_dict())


@seeded
def test_a_preview_equals_the_invoice_that_follows(sandbox, api, shop, seed):
    story = Story(sandbox, api, shop, seed)
    other = shop.price(
        f"{story.chance.randint(1, 9_000)}.{story.chance.randint(1, 9)}", currency=story.currency
    )
    for _ in range(2):
        story.later()
        more = {"price": other.id} if story.chance.random() < 0.4 else {}
        change = story.change(**more)
        given = {"discounts": ""} if story.chance.random() < 0.2 else {}
        preview = api.invoices.create_preview(
            {"subscription": story.subscription.id, "subscription_details": change, **given}
        )
        invoice = story.apply({**change, **given}).latest_invoice
        assert [preview[field] for field in COMPARED] == [invoice[field] for field in COMPARED]
        assert told(preview) == told(invoice)
        assert_adds_up(invoice)
    story.later()
    preview = api.invoices.create_preview({"subscription": story.subscription.id})
    sandbox.clock(END + 3700)
    [renewal] = api.invoices.list({"subscription": story.subscription.id, "limit": 1}).data
    assert renewal.billing_reason == "subscription_cycle"
    assert [preview[field] for field in COMPARED] == [renewal[field] for field in COMPARED]
    assert told(preview) == told(renewal)
    assert_adds_up(renewal)


@seeded
def test_any_sequence_of_seat_changes_costs_its_exact_integral(sandbox, api, shop, seed):
    story = Story(sandbox, api, shop, seed, discounted=False)
    kept = Fraction(1)
    if story.chance.random() < 0.5:
        percent = story.chance.choice([10, 20, 12.5])
        kept -= Fraction(str(percent)) / 100
        coupon = api.coupons.create({"percent_off": percent, "duration": "forever"})
        story.subscription = api.subscriptions.create(
            {
                "customer": story.customer,
                "items": [{"price": story.price.id, "quantity": story.seats}],
                "discounts": [{"coupon": coupon.id}],
                "expand": ["latest_invoice"],
            }
        )
        story.item = story.subscription["items"].data[0].id
    exact, rounded = Fraction(0), 1
    for _ in range(story.chance.randint(2, 6)):
        before, seats = story.now, story.seats
        story.later()
        exact += kept * Fraction(story.unit * seats * (story.now - before), END - START)
        change = story.change(story.chance.choice(["always_invoice", "create_prorations"]))
        rounded += 2
        api.subscriptions.update(story.subscription.id, change)
    exact += kept * Fraction(story.unit * story.seats * (END - story.now), END - START)
    items = api.invoice_items.list({"customer": story.customer, "limit": 100}).data
    assert_whole([item.to_dict() for item in items])
    billed = story.subscription.latest_invoice.total + sum(item.amount for item in items)
    assert abs(billed - exact) <= Fraction(rounded, 2)


@seeded
def test_refunds_never_exceed_what_was_paid(sandbox, api, shop, seed):
    story = Story(sandbox, api, shop, seed, discounted=False)
    payment = api.invoice_payments.list({"invoice": story.subscription.latest_invoice.id}).data[0]
    intent = payment.payment.payment_intent
    paid = story.subscription.latest_invoice.amount_paid
    given = 0
    for _ in range(5):
        amount = story.chance.randint(1, max(1, paid * 2 // 3))
        try:
            refund = api.refunds.create({"payment_intent": intent, "amount": amount})
        except stripe.InvalidRequestError:
            assert given + amount > paid
        else:
            given += refund.amount
        assert given <= paid
    charge = api.payment_intents.retrieve(intent, {"expand": ["latest_charge"]}).latest_charge
    refunds = api.refunds.list({"charge": charge.id}).data
    assert charge.amount_refunded == given == sum(refund.amount for refund in refunds)
    assert charge.refunded == (given == paid)
    moved = [api.balance_transactions.retrieve(refund.balance_transaction) for refund in refunds[:1]]
    assert all(each.net == each.amount - each.fee < 0 for each in moved)


@seeded
def test_balances_and_sums_add_up(sandbox, api, shop, seed):
    story = Story(sandbox, api, shop, seed)
    for _ in range(4):
        story.later()
        if story.chance.random() < 0.4:
            amount = story.chance.randint(-50_000, 50_000)
            api.customers.balance_transactions.create(
                story.customer, {"amount": amount, "currency": story.currency}
            )
        else:
            story.apply(story.change())
    sandbox.clock(END + 3700)
    ledger = api.customers.balance_transactions.list(story.customer, {"limit": 100}).data
    balance = 0
    for entry in reversed(ledger):
        balance += entry.amount
        assert entry.ending_balance == balance
    assert api.customers.retrieve(story.customer).balance == balance
    for invoice in story.invoices():
        assert_adds_up(invoice)


@seeded
def test_zero_decimal_currencies_never_gain_decimals(sandbox, api, shop, seed):
    chance = random.Random(seed)
    currency = chance.choice(["jpy", "krw", "vnd", "clp"])
    sandbox.clock(START)
    price = shop.price(chance.randint(60, 30_000), currency=currency)
    coupon = api.coupons.create({"percent_off": chance.choice([12.5, 33.33, 7]), "duration": "forever"})
    subscription = shop.subscription(chance.randint(1, 9), price=price, discounts=[{"coupon": coupon.id}])
    sandbox.clock(START + chance.randint(1, 30 * DAY))
    items = [{"id": subscription["items"].data[0].id, "quantity": chance.randint(1, 20)}]
    change = {"items": items, "proration_behavior": "always_invoice", "expand": ["latest_invoice"]}
    invoice = api.subscriptions.update(subscription.id, change).latest_invoice
    for each in (subscription.latest_invoice, invoice):
        assert_adds_up(each)
        assert not any("." in line.description for line in each.lines.data)
        payments = api.invoice_payments.list({"invoice": each.id}).data
        for payment in payments:
            wanted = {"expand": ["latest_charge.balance_transaction"]}
            intent = api.payment_intents.retrieve(payment.payment.payment_intent, wanted)
            moved = intent.latest_charge.balance_transaction
            assert moved.net == moved.amount - moved.fee
            assert_whole(intent.to_dict())
