"""Credit notes: what a final invoice asks too much of, taken off what is still due or given back."""

from fractions import Fraction
from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.machine.invoices import cancel_payments, move_balance
from billing.sandbox.machine.payments import resize_payment, settle
from billing.sandbox.machine.refunds import refund
from billing.sandbox.money import round_half_up, shown
from billing.sandbox.table import Object
from billing.sandbox.world import World

OWED = ("open", "uncollectible")


def issue(world: World, invoice: Object, params: dict[str, Any]) -> Object:
    """A credit note for a final invoice: first off what remains due, then back by refund, balance or other means."""
    if invoice["status"] not in (*OWED, "paid"):
        raise invalid(
            f"You can only create credit notes for finalized invoices. This invoice is {invoice['status']}.",
            param="invoice",
        )
    customer = world.get("customer", invoice["customer"])
    id = world.new_id("credit_note")
    lines = _lines(world, invoice, params)
    subtotal = sum(line["amount"] for line in lines)
    discounts = _discounts(lines)
    off = sum(each["amount"] for each in discounts)
    total = subtotal - off
    _check_cap(invoice, total)
    due = invoice["amount_remaining"] if invoice["status"] in OWED else 0
    before = min(total, due)
    links = _links(world, invoice, params.get("refunds") or [])
    _check_after(invoice, total - before, params, links)
    now = world.now_of(customer["id"])
    token = world.secret(24)
    count = sum(1 for _ in world.tables["credit_note"].newest_first("invoice", invoice["id"]))
    note = world.insert(
        {
            "id": id,
            "object": "credit_note",
            "amount": total,
            "amount_shipping": 0,
            "created": now,
            "currency": invoice["currency"],
            "customer": customer["id"],
            "customer_account": None,
            "customer_balance_transaction": None,
            "discount_amount": off,
            "discount_amounts": discounts,
            "effective_at": params.get("effective_at") or now,
            "invoice": invoice["id"],
            "lines": {
                "object": "list", "data": lines, "has_more": False, "total_count": len(lines),
                "url": f"/v1/credit_notes/{id}/lines",
            },
            "livemode": False,
            "memo": params.get("memo"),
            "metadata": params.get("metadata") or {},
            "number": f"{invoice['number']}-CN-{count + 1:02d}",
            "out_of_band_amount": params.get("out_of_band_amount"),
            "pdf": f"{world.base}/cn/{id}/{token}/pdf",
            "post_payment_amount": total - before,
            "pre_payment_amount": before,
            "pretax_credit_amounts": [{"type": "discount", **each} for each in discounts],
            "reason": params.get("reason"),
            "refunds": [],
            "shipping_cost": None,
            "status": "issued",
            "subtotal": subtotal,
            "subtotal_excluding_tax": subtotal,
            "total": total,
            "total_excluding_tax": total,
            "total_taxes": [],
            "type": "pre_payment" if before == total else "mixed" if before else "post_payment",
            "voided_at": None,
        }
    )  # fmt: skip
    world.note(id, token=token)
    _give_back(world, invoice, customer, note, params, links)
    world.emit("credit_note.created", note)
    _count(world, invoice, before, total - before)
    return note


def void(world: World, note: Object) -> Object:
    """Take a credit note back, while its invoice still waits to be paid."""
    if note["status"] == "void":
        raise invalid(f"Credit note {note['id']} is already void.")
    invoice = world.get("invoice", note["invoice"])
    if invoice["status"] != "open" or note["post_payment_amount"]:
        raise invalid("You can only void a credit note while its invoice is open.", param="id")
    world.update(note, status="void", voided_at=world.now_of(note["customer"]))
    world.settle(note)
    world.emit("credit_note.voided", note)
    _count(world, invoice, -note["pre_payment_amount"], 0)
    return note


def _count(world: World, invoice: Object, before: int, after: int) -> None:
    world.update(
        invoice,
        amount_due=invoice["amount_due"] - before,
        amount_remaining=invoice["amount_remaining"] - before,
        pre_payment_credit_notes_amount=invoice["pre_payment_credit_notes_amount"] + before,
        post_payment_credit_notes_amount=invoice["post_payment_credit_notes_amount"] + after,
    )
    if invoice["status"] in OWED and invoice["amount_remaining"] == 0:
        cancel_payments(world, invoice)
        settle(world, invoice, out_of_band=True)
    elif before:
        resize_payment(world, invoice)


def _give_back(
    world: World,
    invoice: Object,
    customer: Object,
    note: Object,
    params: dict[str, Any],
    links: list[Object],
) -> None:
    if amount := params.get("refund_amount"):
        charge = _charge(world, invoice)
        if charge is None:
            raise invalid("This invoice has no charge that could be refunded.", param="refund_amount")
        made = refund(world, charge, amount, reason=None, metadata={})
        links = [*links, _link(made, amount)]
    world.update(note, refunds=links)
    if amount := params.get("credit_amount"):
        moved = move_balance(
            world, customer, -amount, kind="credit_note", invoice=invoice, credit_note=note["id"]
        )
        world.update(note, customer_balance_transaction=moved["id"])


def _link(made: Object, amount: int) -> Object:
    return {"amount_refunded": amount, "payment_record_refund": None, "refund": made["id"], "type": "refund"}


def _charge(world: World, invoice: Object) -> Object | None:
    for payment in world.tables["invoice_payment"].newest_first("invoice", invoice["id"]):
        if payment["status"] == "paid":
            intent = world.get("payment_intent", payment["payment"]["payment_intent"])
            return world.find("charge", intent["latest_charge"])
    return None


def _links(world: World, invoice: Object, given: list[dict[str, Any]]) -> list[Object]:
    links: list[Object] = []
    charge = _charge(world, invoice) if given else None
    for index, each in enumerate(given):
        param = f"refunds[{index}][refund]"
        if not each.get("refund"):
            raise missing_param(param)
        made = world.get("refund", each["refund"], param=param)
        if charge is None or made["charge"] != charge["id"]:
            raise invalid(f"Refund {made['id']} does not belong to a payment of this invoice.", param=param)
        notes = world.tables["credit_note"].newest_first("invoice", invoice["id"])
        spoken_for = sum(
            link["amount_refunded"]
            for link in [*links, *(link for note in notes for link in note["refunds"])]
            if link["refund"] == made["id"]
        )
        amount = each.get("amount_refunded") or made["amount"] - spoken_for
        if not 0 < amount <= made["amount"] - spoken_for:
            raise invalid(f"Refund {made['id']} is already covered by a credit note.", param=param)
        links.append(_link(made, amount))
    return links


def _check_cap(invoice: Object, total: int) -> None:
    given = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    left = invoice["total"] - given
    if total <= 0:
        raise invalid("The credit note amount must be greater than zero.", param="amount")
    if total > left:
        asked, rest = shown(total, invoice["currency"]), shown(left, invoice["currency"])
        raise invalid(
            f"The credit note amount ({asked}) is greater than what is left to credit on the invoice ({rest}).",
            param="amount",
        )


def _check_after(invoice: Object, after: int, params: dict[str, Any], links: list[Object]) -> None:
    ways = [params.get(name) or 0 for name in ("credit_amount", "refund_amount", "out_of_band_amount")]
    given = sum(ways) + sum(link["amount_refunded"] for link in links)
    if given != after:
        asked, rest = shown(given, invoice["currency"]), shown(after, invoice["currency"])
        raise invalid(
            f"The sum of credit amount, refund amount and out of band amount ({asked}) must equal the post-payment "
            f"amount of the credit note ({rest})."
        )


def _lines(world: World, invoice: Object, params: dict[str, Any]) -> list[Object]:
    given, amount = params.get("lines"), params.get("amount")
    if not given and amount is None:
        raise invalid("You must pass one of `amount`, `lines`, or `shipping_cost`.", code="parameter_missing")
    if not given:
        return [_line(world, amount=amount, type="custom_line_item", unit_amount=amount, quantity=1)]
    lines: list[Object] = []
    for index, each in enumerate(given):
        make = _custom if each["type"] == "custom_line_item" else _credited
        lines.append(make(world, invoice, each, f"lines[{index}]", lines))
    if amount is not None and amount != sum(line["amount"] - line["discount_amount"] for line in lines):
        raise invalid("The amount does not match the sum of the lines.", param="amount")
    return lines


def _custom(world: World, invoice: Object, given: dict[str, Any], param: str, others: list[Object]) -> Object:
    if not given.get("description"):
        raise missing_param(f"{param}[description]")
    unit, quantity = given.get("unit_amount"), given.get("quantity", 1)
    exact = given.get("unit_amount_decimal") or (None if unit is None else str(unit))
    if exact is None:
        raise missing_param(f"{param}[unit_amount]")
    return _line(
        world,
        amount=round_half_up(Fraction(exact) * quantity),
        type="custom_line_item",
        description=given["description"],
        quantity=quantity,
        unit_amount=unit,
        unit_amount_decimal=exact,
        metadata=given.get("metadata") or {},
    )


def _credited(
    world: World, invoice: Object, given: dict[str, Any], param: str, others: list[Object]
) -> Object:
    id = given.get("invoice_line_item")
    if not id:
        raise missing_param(f"{param}[invoice_line_item]")
    line = next((each for each in invoice["lines"]["data"] if each["id"] == id), None)
    if line is None:
        raise invalid(
            f"No such invoice line item: '{id}'",
            param=f"{param}[invoice_line_item]",
            code="resource_missing",
        )
    amount, quantity = given.get("amount"), given.get("quantity")
    if amount is None:
        if quantity is None:
            raise missing_param(f"{param}[amount]")
        if quantity > (line["quantity"] or 0):
            raise invalid("The quantity is greater than the invoice line's.", param=f"{param}[quantity]")
        amount = round_half_up(Fraction(line["amount"] * quantity, line["quantity"]))
    notes = world.tables["credit_note"].newest_first("invoice", invoice["id"])
    issued = [each for note in notes if note["status"] == "issued" for each in note["lines"]["data"]]
    before = sum(each["amount"] for each in [*issued, *others] if each.get("invoice_line_item") == id)
    if amount + before > line["amount"]:
        left = shown(line["amount"] - before, invoice["currency"])
        raise invalid(f"Only {left} of this line can still be credited.", param=f"{param}[amount]")
    share = Fraction(amount, line["amount"]) if line["amount"] else Fraction(0)
    off = [
        {"amount": round_half_up(each["amount"] * share), "discount": each["discount"]}
        for each in line["discount_amounts"]
    ]
    return _line(
        world,
        amount=amount,
        type="invoice_line_item",
        invoice_line_item=id,
        description=given.get("description") or line["description"],
        quantity=quantity,
        unit_amount=None if quantity is None else round_half_up(Fraction(amount, quantity or 1)),
        discount_amount=sum(each["amount"] for each in off),
        discount_amounts=off,
        pretax_credit_amounts=[{"type": "discount", **each} for each in off],
        metadata=given.get("metadata") or {},
    )


def _line(world: World, **fields: Any) -> Object:
    unit = fields.get("unit_amount")
    return {
        "id": world.new_id("credit_note_line_item"),
        "object": "credit_note_line_item",
        "description": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "livemode": False,
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity": None,
        "tax_rates": [],
        "taxes": [],
        "unit_amount": None,
        "unit_amount_decimal": None if unit is None else str(unit),
        **fields,
    }


def _discounts(lines: list[Object]) -> list[Object]:
    sums: dict[str, int] = {}
    for line in lines:
        for each in line["discount_amounts"]:
            sums[each["discount"]] = sums.get(each["discount"], 0) + each["amount"]
    return [{"amount": amount, "discount": id} for id, amount in sums.items()]
