"""Invoices: drafting, lines, totals, numbers, and the ways one ends unpaid."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.machine.discounts import effective
from billing.sandbox.money import MINIMUM
from billing.sandbox.table import Object
from billing.sandbox.world import World, job

HOUR = 3600
DAY = 86_400


def subscription_of(world: World, invoice: Object) -> Object | None:
    """The subscription an invoice belongs to, if any."""
    details = (invoice["parent"] or {}).get("subscription_details")
    return world.find("subscription", details["subscription"]) if details else None


def invoices_of(world: World, subscription: Object) -> list[Object]:
    """A subscription's invoices, oldest first."""
    ids = world.side.get(subscription["id"], {}).get("invoices", [])
    return [invoice for id in ids if (invoice := world.find("invoice", id))]


def draft(
    world: World,
    customer: Object,
    *,
    currency: str,
    reason: str,
    period: tuple[int, int],
    subscription: Object | None = None,
    **fields: Any,
) -> Object:
    """A new draft without lines; `fields` override what it starts with."""
    now = world.now_of(customer["id"])
    method = subscription["collection_method"] if subscription else "charge_automatically"
    parent = None
    if subscription:
        details = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
        parent = {"type": "subscription_details", "subscription_details": details, "quote_details": None}
    id = world.new_id("invoice")
    invoice: Object = {
        "id": id,
        "object": "invoice",
        "account_country": world.account["country"],
        "account_name": world.account["business_profile"]["name"],
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": subscription is not None,
        "automatic_tax": {
            "disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": method,
        "created": now,
        "currency": currency,
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": subscription["description"] if subscription else None,
        "discounts": effective(world, customer, subscription),
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": {
            "object": "list", "data": [], "has_more": False, "total_count": 0, "url": f"/v1/invoices/{id}/lines",
        },
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": parent,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": period[1],
        "period_start": period[0],
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None,
        },
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": world.clock_of(customer["id"]),
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": None,
    }  # fmt: skip
    invoice.update(fields)
    world.insert(invoice)
    if subscription:
        known = world.side.get(subscription["id"], {}).get("invoices", [])
        world.note(subscription["id"], invoices=[*known, id])
        world.update(subscription, latest_invoice=id)
        if days := subscription["days_until_due"]:
            world.note(id, days_until_due=days)
    return invoice


def apply_balance(world: World, invoice: Object) -> None:
    """What remains due after the customer's balance: a credit pays, a debt is added, a surplus is kept for later."""
    customer = world.get("customer", invoice["customer"])
    balance, total = customer["balance"], invoice["total"]
    due = max(total + balance, 0)
    ending = total + balance - due
    if (
        0 < due < MINIMUM.get(invoice["currency"], 0)
        and invoice["collection_method"] == "charge_automatically"
    ):
        ending, due = due, 0
    world.update(
        invoice, starting_balance=balance, ending_balance=ending, amount_due=due, amount_remaining=due
    )


def finalize(world: World, invoice: Object) -> Object:
    """A draft becomes open, numbered and due. Whether it is paid at once is for the caller."""
    if invoice["status"] != "draft":
        raise invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    customer = world.get("customer", invoice["customer"])
    now = world.now_of(customer["id"])
    apply_balance(world, invoice)
    if (change := invoice["ending_balance"] - customer["balance"]) != 0:
        kind = "invoice_too_small" if invoice["ending_balance"] > 0 else "applied_to_invoice"
        move_balance(world, customer, change, kind=kind, invoice=invoice)
    sequence = customer["next_invoice_sequence"]
    world.update(
        customer, next_invoice_sequence=sequence + 1, currency=customer["currency"] or invoice["currency"]
    )
    due = invoice["due_date"]
    if invoice["collection_method"] == "send_invoice" and due is None:
        due = now + DAY * world.side.get(invoice["id"], {}).get("days_until_due", 30)
    base = world.base
    token = world.secret(24)
    world.note(invoice["id"], token=token)
    world.update(
        invoice,
        status="open",
        number=f"{customer['invoice_prefix']}-{sequence:04d}",
        effective_at=now,
        due_date=due,
        automatically_finalizes_at=None,
        hosted_invoice_url=f"{base}/i/{invoice['id']}/{token}",
        invoice_pdf=f"{base}/i/{invoice['id']}/{token}/pdf",
        status_transitions={**invoice["status_transitions"], "finalized_at": now},
    )
    if due:
        world.schedule(due, "past_due_date", invoice["id"], invoice["test_clock"])
    world.emit("invoice.finalized", invoice)
    return invoice


def move_balance(
    world: World, customer: Object, amount: int, *, kind: str, invoice: Object | None = None, **fields: Any
) -> Object:
    """Add to the customer's balance (minor units; negative is credit) and to its ledger."""
    world.update(customer, balance=customer["balance"] + amount)
    return world.insert(
        {
            "id": world.new_id("customer_balance_transaction"),
            "object": "customer_balance_transaction",
            "amount": amount,
            "checkout_session": None,
            "created": world.now_of(customer["id"]),
            "credit_note": None,
            "currency": (invoice or customer)["currency"] or "usd",
            "customer": customer["id"],
            "customer_account": None,
            "description": None,
            "ending_balance": customer["balance"],
            "invoice": invoice["id"] if invoice else None,
            "livemode": False,
            "metadata": {},
            "type": kind,
            **fields,
        }
    )  # fmt: skip


def void(world: World, invoice: Object) -> Object:
    """Nobody owes it any more, as if it had never been."""
    if invoice["status"] not in ("open", "uncollectible"):
        raise invalid("You can only pass in open invoices. This invoice isn't open.", param="invoice")
    now = world.now_of(invoice["customer"])
    customer = world.find("customer", invoice["customer"])
    if customer and (applied := invoice["ending_balance"] - invoice["starting_balance"]) > 0:
        move_balance(world, customer, -applied, kind="unapplied_from_invoice", invoice=invoice)
    world.update(
        invoice,
        status="void",
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions={**invoice["status_transitions"], "voided_at": now},
    )
    cancel_payments(world, invoice)
    world.emit("invoice.voided", invoice)
    return invoice


def mark_uncollectible(world: World, invoice: Object) -> Object:
    """Given up, but still owed."""
    if invoice["status"] != "open":
        raise invalid("You can only pass in open invoices. This invoice isn't open.", param="invoice")
    now = world.now_of(invoice["customer"])
    changed = {**invoice["status_transitions"], "marked_uncollectible_at": now}
    world.update(
        invoice,
        status="uncollectible",
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions=changed,
    )
    world.emit("invoice.marked_uncollectible", invoice)
    return invoice


def cancel_payments(world: World, invoice: Object) -> None:
    """The open payment of an invoice and its intent are no longer wanted."""
    now = world.now_of(invoice["customer"])
    for payment in list(world.tables["invoice_payment"].newest_first("invoice", invoice["id"])):
        if payment["status"] == "open":
            changed = {**payment["status_transitions"], "canceled_at": now}
            world.update(payment, status="canceled", status_transitions=changed)
            intent = world.get("payment_intent", payment["payment"]["payment_intent"])
            world.update(intent, status="canceled", canceled_at=now, cancellation_reason="void_invoice")
            world.emit("payment_intent.canceled", intent)


@job("resume_collection")
def resume_collection(world: World, id: str) -> None:
    """A pause of collection reaches its `resumes_at`."""
    subscription = world.find("subscription", id)
    pause = subscription and subscription["pause_collection"]
    if subscription and pause and (pause["resumes_at"] or 2**62) <= world.now_of(subscription["customer"]):
        world.update(subscription, pause_collection=None)
