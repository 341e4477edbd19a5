"""A scripted life that walks every endpoint of the sandbox: the script that Stripe can play too, and the rest."""

from typing import Any

import httpx

from tests.contract.script import DAY, Made, Shop, play
from tests.contract.stage import Answer, Stage


def live(key: str, base: str) -> None:
    """Everything, on an empty sandbox."""
    stage, made = Stage(key, base), Made()
    with httpx.Client(base_url=f"{base}/_sandbox", timeout=30, trust_env=False) as control:
        shop = play(stage, made)
        see_the_account(stage, shop)
        keep_cards(stage)
        owner = be_disputed(stage, control, shop)
        bill_and_pay(stage, owner, shop)
        change_lines(stage, owner)
        give_discounts(stage, owner, shop)
        control.post("/discounts", json={"customer": owner, "coupon": shop.coupon}).raise_for_status()
        stage.get("customer's discount", f"customers/{owner}/discount")
        stage.delete("no discount", f"customers/{owner}/discount")
        change_items(stage, owner, shop)
        plan_ahead(stage, owner, shop)
        pay_by_hand(stage, owner)
        credit(stage, newcomer(stage))
        listen(stage)
        left = made.clean_up()
    if left:
        raise AssertionError(left)


def newcomer(stage: Stage, card: str = "pm_card_visa", **more: Any) -> str:
    """A customer who pays with a test card, off any test clock."""
    customer: str = stage.post("customer", "customers", email="ada@example.com", **more)["id"]
    method = stage.post("card", f"payment_methods/{card}/attach", customer=customer)["id"]
    stage.post("default", f"customers/{customer}", invoice_settings={"default_payment_method": method})
    return customer


def subscribed(stage: Stage, customer: str, price: str, **more: Any) -> Answer:
    """A subscription of eight seats."""
    items = [{"price": price, "quantity": 8}]
    return stage.post("subscription", "subscriptions", customer=customer, items=items, **more)


def see_the_account(stage: Stage, shop: Shop) -> None:
    """The account by its id, clocks, and a product that goes."""
    account = stage.get("account", "account")
    stage.get("account by id", f"accounts/{account['id']}")
    stage.get("accounts connected to it", "accounts", limit=3)
    stage.get("clocks", "test_helpers/test_clocks")
    stage.get("clock", f"test_helpers/test_clocks/{shop.clock}")
    product = stage.post("product", "products", name="Unwanted")
    stage.delete("delete product", f"products/{product['id']}")


def keep_cards(stage: Stage) -> None:
    """Cards by number and token, attached, changed, detached; a customer who goes."""
    customer = newcomer(stage)
    card = stage.post(
        "card by number",
        "payment_methods",
        type="card",
        card={"number": "4242424242424242", "exp_month": 12, "exp_year": 2034, "cvc": "123"},
        billing_details={"name": "Ada", "email": "ada@example.com"},
        metadata={"kept": "yes"},
    )["id"]
    stage.post("card by token", "payment_methods", type="card", card={"token": "tok_mastercard"})
    stage.post("attach", f"payment_methods/{card}/attach", customer=customer)
    stage.post("new date", f"payment_methods/{card}", card={"exp_month": 1, "exp_year": 2035})
    stage.get("customer's card", f"customers/{customer}/payment_methods/{card}")
    stage.get("cards", "payment_methods", customer=customer, type="card")
    stage.post("detach", f"payment_methods/{card}/detach")
    portal = stage.post(
        "portal's look", "billing_portal/configurations", features={"invoice_history": {"enabled": True}}
    )["id"]
    stage.get("portal's look again", f"billing_portal/configurations/{portal}")
    stage.post(
        "other look", f"billing_portal/configurations/{portal}", default_return_url="https://example.com/"
    )
    stage.get("portal's looks", "billing_portal/configurations", active=True)
    stage.post("portal", "billing_portal/sessions", customer=customer, return_url="https://example.com/back")
    stage.get("customers by email", "customers", email="ada@example.com", limit=1)
    stage.delete("delete customer", f"customers/{customer}")
    stage.get("deleted customer", f"customers/{customer}")


def be_disputed(stage: Stage, control: httpx.Client, shop: Shop) -> str:
    """Charges that are taken back: one answered, one given up; a refund that waits and is canceled."""
    customer = newcomer(stage)
    for number in range(2):
        subscribed(stage, customer, shop.price)
        charge = stage.get("charges", "charges", customer=customer, limit=1)["data"][0]["id"]
        control.post("/disputes", json={"charge": charge, "reason": "fraudulent"}).raise_for_status()
        dispute = stage.get("disputes", "disputes", charge=charge)["data"][0]["id"]
        if number:
            stage.post("give up", f"disputes/{dispute}/close")
        else:
            evidence = {"uncategorized_text": "winning_evidence", "customer_name": "Ada"}
            stage.post(
                "answer", f"disputes/{dispute}", evidence=evidence, metadata={"case": "1"}, submit=True
            )
        stage.get("dispute", f"disputes/{dispute}", expand=["charge"])
    subscribed(stage, customer, shop.price)
    charge = stage.get("charges", "charges", customer=customer, limit=1, created={"gte": 1})["data"][0]["id"]
    stage.post("describe charge", f"charges/{charge}", description="Seats", metadata={"order": "1"})
    stage.post("refund", "refunds", charge=charge, amount=100)
    stage.get("charge's refunds", f"charges/{charge}/refunds")
    transactions = stage.get("transactions", "balance_transactions", limit=100, type="charge")["data"]
    stage.get("transaction", f"balance_transactions/{transactions[0]['id']}", expand=["source"])
    waiting = newcomer(stage, "pm_card_pendingRefund")
    subscribed(stage, waiting, shop.price)
    charge = stage.get("charges", "charges", customer=waiting)["data"][0]
    pending = stage.post("refund that waits", "refunds", charge=charge["id"], reason="duplicate")
    control.post("/refunds", json={"refund": pending["id"], "status": "requires_action"}).raise_for_status()
    stage.post("cancel refund", f"refunds/{pending['id']}/cancel")
    stage.post("describe intent", f"payment_intents/{charge['payment_intent']}", description="Seats")
    return customer


def change_lines(stage: Stage, customer: str) -> None:
    """A draft whose lines come, change and go, and an item that is changed while it waits."""
    waiting = stage.post("item", "invoiceitems", customer=customer, amount=300, currency="usd")["id"]
    stage.post(
        "change the item", f"invoiceitems/{waiting}", amount=350, description="More", metadata={"a": "b"}
    )
    draft = f"invoices/{stage.post('draft', 'invoices', customer=customer, currency='usd')['id']}"
    wanted: Any = [{"amount": 900, "description": "Help"}, {"invoice_item": waiting}]
    first, second = (
        line["id"] for line in stage.post("add", f"{draft}/add_lines", lines=wanted)["lines"]["data"]
    )
    stage.post("change lines", f"{draft}/update_lines", lines=[{"id": first, "amount": 800}])
    stage.post("change a line", f"{draft}/lines/{first}", description="Help, at length", quantity=2)
    stage.post("take off", f"{draft}/remove_lines", lines=[{"id": second, "behavior": "delete"}])
    stage.delete("no draft", draft)


def bill_and_pay(stage: Stage, customer: str, shop: Shop) -> None:
    """Invoices made by hand: changed, sent, paid, thrown away."""
    item = stage.post("item", "invoiceitems", customer=customer, amount=700, currency="usd")
    stage.delete("no item", f"invoiceitems/{item['id']}")
    stage.get("items", "invoiceitems", customer=customer, pending=True)
    for name in ("send", "pay", "pay outside"):
        draft = stage.post(f"draft to {name}", "invoices", customer=customer, auto_advance=False)["id"]
        stage.post("item", "invoiceitems", customer=customer, invoice=draft, amount=900, currency="usd")
        stage.post("describe", f"invoices/{draft}", description="Help", footer="Thanks", metadata={"po": "7"})
        if name == "send":
            stage.post("by invoice", f"invoices/{draft}", collection_method="send_invoice", days_until_due=7)
            stage.post(name, f"invoices/{draft}/send")
        else:
            outside: Any = {"paid_out_of_band": True} if name == "pay outside" else {}
            stage.post(name, f"invoices/{draft}/pay", expand=["payments"], **outside)
            stage.get(
                "status",
                "invoices",
                customer=customer,
                status="paid",
                collection_method="charge_automatically",
            )
    payment = stage.get("payments", "invoice_payments", status="paid", limit=1)["data"][0]["id"]
    stage.get("payment", f"invoice_payments/{payment}", expand=["invoice"])
    draft = stage.post("draft", "invoices", customer=customer)["id"]
    stage.delete("throw away", f"invoices/{draft}")


def give_discounts(stage: Stage, customer: str, shop: Shop) -> None:
    """Coupons, promotion codes, and discounts that are taken away again."""
    stage.post("change coupon", f"coupons/{shop.coupon}", name="Welcome", metadata={"season": "spring"})
    stage.get("coupons", "coupons", limit=5)
    code = stage.post(
        "promotion code",
        "promotion_codes",
        promotion={"type": "coupon", "coupon": shop.coupon},
        code="SPRING",
        max_redemptions=3,
    )["id"]
    stage.post("change promotion code", f"promotion_codes/{code}", metadata={"season": "spring"})
    stage.get("promotion code again", f"promotion_codes/{code}", expand=["promotion.coupon"])
    stage.get("promotion codes", "promotion_codes", active=True, code="spring")
    subscription = subscribed(stage, customer, shop.price, discounts=[{"promotion_code": code}])["id"]
    stage.get(
        "discounts",
        f"subscriptions/{subscription}",
        expand=["discounts.source.coupon", "latest_invoice.discounts"],
    )
    stage.delete("no discount", f"subscriptions/{subscription}/discount")
    stage.delete("cancel", f"subscriptions/{subscription}")


def pay_by_hand(stage: Stage, customer: str) -> None:
    """Payment intents without an invoice: confirmed, confirmed at once, given up."""
    wish: Any = {"amount": 1200, "currency": "usd", "customer": customer, "payment_method_types": ["card"]}
    intent = stage.post("intent", "payment_intents", payment_method="pm_card_visa", **wish)["id"]
    stage.post("confirm", f"payment_intents/{intent}/confirm", return_url="https://example.com/back")
    intent = stage.post("intent", "payment_intents", description="Help", metadata={"po": "7"}, **wish)["id"]
    stage.post("give up", f"payment_intents/{intent}/cancel", cancellation_reason="abandoned")
    card = "pm_card_authenticationRequired"
    stage.post("asks the customer", "payment_intents", payment_method=card, confirm=True, **wish)


def credit(stage: Stage, customer: str) -> None:
    """Credit notes, before and after payment."""
    draft = stage.post(
        "draft", "invoices", customer=customer, collection_method="send_invoice", days_until_due=9
    )["id"]
    stage.post("item", "invoiceitems", customer=customer, invoice=draft, amount=3000, currency="usd")
    stage.post("finalize", f"invoices/{draft}/finalize", auto_advance=False)
    wish: Any = {"invoice": draft, "amount": 500}
    stage.get("preview", "credit_notes/preview", **wish)
    stage.get("preview's lines", "credit_notes/preview/lines", **wish)
    note = stage.post(
        "credit note", "credit_notes", memo="Sorry", reason="order_change", metadata={"why": "kind"}, **wish
    )
    path = f"credit_notes/{note['id']}"
    stage.get("credit note again", path, expand=["invoice"])
    stage.post("change credit note", path, memo="Very sorry")
    stage.get("its lines", f"{path}/lines")
    stage.get("credit notes", "credit_notes", customer=customer, invoice=draft)
    stage.post("void", f"{path}/void")
    stage.post("pay", f"invoices/{draft}/pay")
    stage.post("credit to the balance", "credit_notes", invoice=draft, amount=400, credit_amount=400)
    moved = stage.get("balance", f"customers/{customer}/balance_transactions")["data"][0]["id"]
    stage.get("a movement", f"customers/{customer}/balance_transactions/{moved}")
    stage.post("its words", f"customers/{customer}/balance_transactions/{moved}", description="Kind")


def plan_ahead(stage: Stage, customer: str, shop: Shop) -> None:
    """Schedules: made of a subscription, given a second phase, released, canceled."""
    for end in ("release", "cancel"):
        subscription = subscribed(stage, customer, shop.price)["id"]
        made = stage.post("schedule", "subscription_schedules", from_subscription=subscription)
        path, current = f"subscription_schedules/{made['id']}", made["phases"][0]
        items = [{"price": shop.price, "quantity": 8}]
        first = {"items": items, "start_date": current["start_date"], "end_date": current["end_date"]}
        then = {"items": items, "duration": {"interval": "month", "interval_count": 2}}
        stage.post("second phase", path, phases=[first, then], end_behavior="cancel", metadata={"order": "1"})
        stage.get("schedule again", path, expand=["subscription"])
        stage.get("schedules", "subscription_schedules", customer=customer, limit=1)
        look_ahead(stage, made["id"], [first, {**then, "items": [{"price": shop.price, "quantity": 9}]}])
        stage.post(end, f"{path}/{end}")


def look_ahead(stage: Stage, schedule: str, phases: list[dict[str, Any]]) -> None:
    """What a schedule would invoice, with an item along, read again."""
    item = {"amount": 700, "currency": "usd", "description": "Training", "quantity": 1}
    preview = stage.post(
        "preview schedule",
        "invoices/create_preview",
        schedule=schedule,
        schedule_details={"phases": phases, "end_behavior": "release", "proration_behavior": "none"},
        invoice_items=[item],
    )
    stage.get("preview again", f"invoices/{preview['id']}")
    stage.get("preview's lines", f"invoices/{preview['id']}/lines", limit=1)


def change_items(stage: Stage, customer: str, shop: Shop) -> None:
    """A second item that comes and goes, a trial, a subscription by invoice, one that is paused."""
    subscription = subscribed(stage, customer, shop.price, trial_period_days=14)
    item = stage.post(
        "second item",
        "subscription_items",
        subscription=subscription["id"],
        price=shop.other_price,
        quantity=3,
        proration_behavior="none",
    )
    stage.delete("no second item", f"subscription_items/{item['id']}", proration_behavior="create_prorations")
    stage.post("trial ends now", f"subscriptions/{subscription['id']}", trial_end="now")
    stage.delete("cancel", f"subscriptions/{subscription['id']}", invoice_now=True, prorate=True)
    subscribed(stage, customer, shop.price, collection_method="send_invoice", days_until_due=30)
    pausing(stage, shop)


def pausing(stage: Stage, shop: Shop) -> None:
    """A trial that ends without a card pauses the subscription; it goes on when there is one."""
    clock = stage.post("clock", "test_helpers/test_clocks", frozen_time=shop.now)["id"]
    customer = stage.post("customer", "customers", test_clock=clock)["id"]
    paused = subscribed(
        stage,
        customer,
        shop.price,
        trial_period_days=3,
        trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
    )
    stage.advance(clock, shop.now + 4 * DAY)
    card = stage.post("card", "payment_methods/pm_card_visa/attach", customer=customer)["id"]
    stage.post("default", f"customers/{customer}", invoice_settings={"default_payment_method": card})
    stage.post(
        "preview resuming",
        "invoices/create_preview",
        subscription=paused["id"],
        subscription_details={"resume_at": "now"},
    )
    stage.post(
        "resume",
        f"subscriptions/{paused['id']}/resume",
        billing_cycle_anchor="unchanged",
        proration_behavior="always_invoice",
        proration_date=shop.now + 4 * DAY,
    )
    stage.delete("delete clock", f"test_helpers/test_clocks/{clock}")


def listen(stage: Stage) -> None:
    """Webhook endpoints."""
    made = stage.post(
        "endpoint",
        "webhook_endpoints",
        url="https://example.com/webhooks",
        enabled_events=["invoice.paid", "customer.updated"],
        description="ours",
    )
    path = f"webhook_endpoints/{made['id']}"
    stage.get("endpoint again", path)
    stage.post("disable", path, disabled=True, enabled_events=["*"], metadata={"team": "billing"})
    stage.get("endpoints", "webhook_endpoints")
    stage.delete("no endpoint", path)
    stage.get("events by type", "events", type="customer.*", limit=5, delivery_success=True)
