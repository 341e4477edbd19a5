"""Some sixty steps that a Stripe in test mode and the sandbox both can play: what this product and its staff do.

Everything hangs on a test clock, a product and a coupon, which `clean_up` takes away again.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.contract.stage import Answer, Stage

DAY = 86_400


@dataclass
class Made:
    """What has to be taken away in the end."""

    undo: list[Callable[[], object]] = field(default_factory=list)

    def clean_up(self) -> list[str]:
        """Take everything away, last things first; what could not be."""
        left = []
        for each in reversed(self.undo):
            try:
                each()
            except Exception as error:
                left.append(str(error))
        return left


@dataclass
class Shop:
    """What the parts of the script share."""

    price: str
    other_price: str
    coupon: str
    clock: str
    now: int
    customer: str = ""
    card: str = ""


def play(stage: Stage, made: Made) -> Shop:
    """The whole script."""
    shop = open_shop(stage, made)
    meet_customer(stage, shop)
    subscription = subscribe(stage, shop)
    invoice = look_at_money(stage, shop)
    refund(stage, invoice)
    bill_by_hand(stage, shop)
    change_subscription(stage, shop, subscription)
    live_on(stage, shop, subscription)
    be_refused(stage, shop)
    return shop


def open_shop(stage: Stage, made: Made) -> Shop:
    """Products, prices, a coupon, a clock."""
    stage.get("account", "account")
    product = stage.post("product", "products", name="Contract", metadata={"made_by": "contract"})["id"]
    price = stage.post(
        "price", "prices", product=product, currency="usd", unit_amount=2900, recurring={"interval": "month"}
    )["id"]
    other = stage.post(
        "price in tiers",
        "prices",
        product=product,
        currency="usd",
        billing_scheme="tiered",
        tiers_mode="graduated",
        tiers=[{"up_to": 5, "unit_amount": 1000}, {"up_to": "inf", "unit_amount": 800}],
        recurring={"interval": "month"},
    )["id"]
    made.undo.append(lambda: stage.post("archive product", f"products/{product}", active=False))
    made.undo.append(lambda: stage.post("archive price", f"prices/{price}", active=False))
    made.undo.append(lambda: stage.post("archive other price", f"prices/{other}", active=False))
    stage.get("product again", f"products/{product}")
    stage.post("change product", f"products/{product}", description="Seats", unit_label="seat")
    stage.get("products", "products", limit=3, active=True)
    stage.get("price with tiers", f"prices/{other}", expand=["tiers", "product"])
    stage.post("change price", f"prices/{price}", nickname="Team", metadata={"plan": "team"})
    stage.get("prices", "prices", product=product)
    coupon = stage.post("coupon", "coupons", percent_off=20, duration="repeating", duration_in_months=2)["id"]
    made.undo.append(lambda: stage.delete("delete coupon", f"coupons/{coupon}"))
    stage.get("coupon again", f"coupons/{coupon}")
    now = int(time.time())
    clock = stage.post("test clock", "test_helpers/test_clocks", frozen_time=now, name="contract")["id"]
    made.undo.append(lambda: stage.delete("delete test clock", f"test_helpers/test_clocks/{clock}"))
    return Shop(price, other, coupon, clock, now)


def meet_customer(stage: Stage, shop: Shop) -> None:
    """A customer with a card."""
    customer = stage.post(
        "customer",
        "customers",
        name="Northwind Labs",
        email="billing@northwind.example",
        test_clock=shop.clock,
        metadata={"organization": "1", "plan": "team"},
        address={"line1": "1 Main Street", "city": "Springfield", "country": "US", "postal_code": "94105"},
    )["id"]
    shop.customer = customer
    stage.post("change metadata", f"customers/{customer}", metadata={"plan": "", "tier": "gold"})
    stage.post("clear metadata", f"customers/{customer}", metadata="")
    card = stage.post("attach a card", "payment_methods/pm_card_visa/attach", customer=customer)["id"]
    shop.card = card
    stage.post("default card", f"customers/{customer}", invoice_settings={"default_payment_method": card})
    stage.get("customer's cards", f"customers/{customer}/payment_methods", limit=5)
    stage.get("card", f"payment_methods/{card}", expand=["customer"])
    stage.get("customer again", f"customers/{customer}", expand=["invoice_settings.default_payment_method"])
    stage.get("customers by clock", "customers", test_clock=shop.clock)


def subscribe(stage: Stage, shop: Shop) -> Answer:
    """A subscription, and more seats for it."""
    made = stage.post(
        "subscription",
        "subscriptions",
        customer=shop.customer,
        items=[{"price": shop.price, "quantity": 8}],
        discounts=[{"coupon": shop.coupon}],
        metadata={"organization": "1"},
        expand=["latest_invoice.payments", "discounts"],
    )
    path, item = f"subscriptions/{made['id']}", made["items"]["data"][0]["id"]
    stage.get("subscription again", path, expand=["items.data.price.product", "default_payment_method"])
    stage.get("subscriptions", "subscriptions", customer=shop.customer, status="all")
    at = shop.now + 10 * DAY
    stage.advance(shop.clock, at)
    shop.now = at
    stage.post(
        "preview more seats",
        "invoices/create_preview",
        customer=shop.customer,
        subscription=made["id"],
        subscription_details={
            "items": [{"id": item, "quantity": 12}],
            "proration_behavior": "always_invoice",
            "proration_date": at,
        },
    )
    stage.post(
        "more seats",
        path,
        items=[{"id": item, "quantity": 12}],
        proration_behavior="always_invoice",
        proration_date=at,
        expand=["latest_invoice"],
    )
    stage.get("item", f"subscription_items/{item}")
    stage.get("items", "subscription_items", subscription=made["id"])
    stage.post("fewer seats later", f"subscription_items/{item}", quantity=9)
    return made


def look_at_money(stage: Stage, shop: Shop) -> Answer:
    """Invoices, their lines and payments, charges."""
    invoices = stage.get("invoices", "invoices", customer=shop.customer, limit=10, expand=["data.payments"])
    invoice: Answer = invoices["data"][-1]
    stage.get("invoice", f"invoices/{invoice['id']}")
    stage.get("invoice's lines", f"invoices/{invoice['id']}/lines", limit=5)
    payments = stage.get("invoice's payments", "invoice_payments", invoice=invoice["id"])["data"]
    intent = stage.get(
        "payment intent",
        f"payment_intents/{payments[0]['payment']['payment_intent']}",
        expand=["latest_charge.balance_transaction"],
    )
    stage.get("payment intents", "payment_intents", customer=shop.customer, limit=2)
    stage.get("charge", f"charges/{intent['latest_charge']['id']}")
    stage.get("charges", "charges", customer=shop.customer, limit=2)
    return intent


def refund(stage: Stage, intent: Answer) -> None:
    """Money back, more than once and too much."""
    charge = intent["latest_charge"]["id"]
    made = stage.post(
        "refund",
        "refunds",
        charge=charge,
        amount=500,
        reason="requested_by_customer",
        metadata={"why": "kind"},
    )
    stage.post("refund by payment intent", "refunds", payment_intent=intent["id"], amount=700)
    stage.get("refund again", f"refunds/{made['id']}", expand=["charge", "balance_transaction"])
    stage.post("change refund", f"refunds/{made['id']}", metadata={"ticket": "7"})
    stage.get("refunds", "refunds", charge=charge)
    stage.refused("refund too much", "post", "refunds", charge=charge, amount=99_999_999)


def bill_by_hand(stage: Stage, shop: Shop) -> None:
    """Invoices of one's own, credit, and what becomes of them."""
    item = stage.post(
        "invoice item",
        "invoiceitems",
        customer=shop.customer,
        amount=1500,
        currency="usd",
        description="Help",
    )
    stage.get("invoice item again", f"invoiceitems/{item['id']}")
    for name, end in (("void", "void"), ("give up", "mark_uncollectible")):
        draft = stage.post(
            f"draft to {name}",
            "invoices",
            customer=shop.customer,
            collection_method="send_invoice",
            days_until_due=14,
            pending_invoice_items_behavior="include",
        )["id"]
        if name == "give up":
            stage.post(
                "item", "invoiceitems", customer=shop.customer, invoice=draft, amount=900, currency="usd"
            )
        stage.post(f"finalize to {name}", f"invoices/{draft}/finalize")
        stage.post(name, f"invoices/{draft}/{end}")
    stage.post(
        "credit",
        f"customers/{shop.customer}/balance_transactions",
        amount=-1000,
        currency="usd",
        description="Sorry",
    )
    stage.get("credits", f"customers/{shop.customer}/balance_transactions")


def change_subscription(stage: Stage, shop: Shop, subscription: Answer) -> None:
    """Cancel later, not at all, pause, go on."""
    path = f"subscriptions/{subscription['id']}"
    stage.post(
        "cancel at the end",
        path,
        cancel_at_period_end=True,
        cancellation_details={"comment": "too dear", "feedback": "too_expensive"},
    )
    stage.post("do not cancel", path, cancel_at_period_end=False)
    stage.post("pause collection", path, pause_collection={"behavior": "void"})
    stage.post("collect again", path, pause_collection="")
    stage.post("describe", path, description="Team plan", metadata={"organization": ""})


def live_on(stage: Stage, shop: Shop, subscription: Answer) -> None:
    """A renewal, and the end."""
    shop.now += 31 * DAY
    stage.advance(shop.clock, shop.now)
    stage.get("after the renewal", f"subscriptions/{subscription['id']}", expand=["latest_invoice"])
    stage.get("invoices after it", "invoices", subscription=subscription["id"], limit=3)
    stage.delete("cancel", f"subscriptions/{subscription['id']}", invoice_now=False, prorate=False)
    stage.get("ended", "subscriptions", customer=shop.customer, status="canceled")
    stage.refused("change what ended", "post", f"subscriptions/{subscription['id']}", description="late")
    events = stage.get("events", "events", types=["customer.subscription.deleted", "refund.created"], limit=3)
    if events["data"]:
        stage.get("event", f"events/{events['data'][0]['id']}")


def be_refused(stage: Stage, shop: Shop) -> None:
    """Stripe's manners when something is wrong, and its idempotency."""
    customer = f"customers/{shop.customer}"
    stage.refused("unknown customer", "get", "customers/cus_nobody0000")
    stage.refused(
        "unknown price", "post", "subscriptions", customer=shop.customer, items=[{"price": "price_none"}]
    )
    stage.refused("unknown parameter", "post", customer, colour="red")
    stage.refused("missing parameter", "post", "refunds")
    stage.refused("wrong type", "post", "invoiceitems", customer=shop.customer, amount="much", currency="usd")
    stage.refused("wrong choice", "post", customer, tax_exempt="maybe")
    stage.refused("page too long", "get", "customers", limit=101)
    stage.refused("expand nonsense", "get", customer, expand=["nonsense"])
    stage.refused("expand too deep", "get", "subscriptions", expand=["data.a.b.c.d"])
    stage.refused("unknown url", "get", "unicorns")
    stage.refused(
        "card that is declined",
        "post",
        "payment_methods/pm_card_chargeDeclined/attach",
        customer=shop.customer,
    )
    key = f"contract-{uuid.uuid4()}"
    stage.post("with a key", customer, key=key, description="once")
    stage.post("the same again", customer, key=key, description="once")
    stage.refused("the key for something else", "post", customer, key=key, description="twice")
    stage.refused(
        "the key elsewhere", "post", f"subscriptions/sub_none{key[:6]}", key=key, description="once"
    )
