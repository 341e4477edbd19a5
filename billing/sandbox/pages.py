"""The few pages people open from links: a hosted invoice, its PDF, the portal."""

from datetime import UTC, datetime
from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from billing.sandbox.errors import ApiError
from billing.sandbox.machine.cards import card_of_number
from billing.sandbox.machine.payments import attempt, authenticate
from billing.sandbox.money import shown
from billing.sandbox.resources.payment_methods import new_method
from billing.sandbox.sandbox import Sandbox
from billing.sandbox.table import Object

BUTTONS = (
    "<form method=post><button name=passed value=yes>Complete</button> "
    "<button name=passed value=no>Fail</button></form>"
)
PAY = (
    "<form method=post><input name=number value=4242424242424242 aria-label='Test card'> "
    "<button>Pay</button></form>"
)


def routes(sandbox: Sandbox) -> list[Route]:
    """The pages of a sandbox."""

    def found(request: Request) -> Object | None:
        id = request.path_params["id"]
        fits = sandbox.world.side.get(id, {}).get("token") == request.path_params["token"]
        return sandbox.world.find("invoice", id) if fits else None

    async def invoice_page(request: Request) -> Response:
        invoice = found(request)
        if invoice is None:
            return _page("Not found", "<p>There is no such invoice.</p>", 404)
        number = await _field(request, "number")
        rows = "".join(
            f"<tr><td>{escape(line['description'] or '')}</td>"
            f"<td align=right>{shown(line['amount'], line['currency'])}</td></tr>"
            for line in invoice["lines"]["data"]
        )
        said = ""
        if request.method == "POST" and invoice["status"] == "open":
            said = f"<p><b>{escape(_pay(sandbox, invoice, number))}</b></p>"
        facts = {
            "Status": invoice["status"],
            "Due": _day(invoice["due_date"]),
            "Total": shown(invoice["total"], invoice["currency"]),
            "Credited": shown(invoice["pre_payment_credit_notes_amount"], invoice["currency"]),
            "Amount due": shown(invoice["amount_remaining"], invoice["currency"]),
        }
        told = "".join(
            f"<tr><th align=left>{name}</th><td>{value}</td></tr>" for name, value in facts.items()
        )
        pay = PAY if invoice["status"] == "open" else ""
        return _page(
            f"Invoice {invoice['number']}",
            f"<p>{escape(invoice['customer_name'] or invoice['customer_email'] or '')}</p>{said}"
            f"<table>{rows}</table><hr><table>{told}</table>{pay}"
            f'<p><a href="{escape(invoice["invoice_pdf"])}">Download the invoice</a></p>',
        )

    async def invoice_pdf(request: Request) -> Response:
        invoice = found(request)
        if invoice is None:
            return _page("Not found", "<p>There is no such invoice.</p>", 404)
        lines = [f"Invoice {invoice['number']}", f"Status: {invoice['status']}"]
        currency = invoice["currency"]
        lines += [
            f"{line['description']}  {shown(line['amount'], currency)}" for line in invoice["lines"]["data"]
        ]
        lines.append(f"Total: {shown(invoice['total'], currency)}")
        lines.append(f"Amount due: {shown(invoice['amount_remaining'], currency)}")
        return Response(_pdf(lines), media_type="application/pdf")

    async def credit_note_pdf(request: Request) -> Response:
        id = request.path_params["id"]
        fits = sandbox.world.side.get(id, {}).get("token") == request.path_params["token"]
        note = sandbox.world.find("credit_note", id) if fits else None
        if note is None:
            return _page("Not found", "<p>There is no such credit note.</p>", 404)
        lines = [f"Credit note {note['number']}", f"Status: {note['status']}", note["memo"] or ""]
        lines += [
            f"{line['description'] or 'Credit'}  {shown(line['amount'], note['currency'])}"
            for line in note["lines"]["data"]
        ]
        lines.append(f"Total: {shown(note['total'], note['currency'])}")
        return Response(_pdf(lines), media_type="application/pdf")

    async def receipt(request: Request) -> Response:
        charge = sandbox.world.find("charge", request.path_params["id"])
        if charge is None or not charge["paid"]:
            return _page("Not found", "<p>There is no such receipt.</p>", 404)
        currency, back = charge["currency"], charge["amount_refunded"]
        card = charge["payment_method_details"]["card"]
        more = f"<p>Refunded: {shown(back, currency)}</p>" if back else ""
        paid = f"<p>Paid {shown(charge['amount'], currency)} by {card['brand']} ending in {card['last4']}</p>"
        return _page("Receipt", paid + more)

    async def portal(request: Request) -> Response:
        session = sandbox.world.find("billing_portal.session", request.path_params["id"])
        if session is None:
            return _page("Not found", "<p>This link has expired.</p>", 404)
        customer = sandbox.world.find("customer", session["customer"]) or {}
        back = session["return_url"]
        link = f'<p><a href="{escape(back)}">Back</a></p>' if back else ""
        return _page("Billing portal", f"<p>{escape(customer.get('name') or session['customer'])}</p>{link}")

    async def bank(request: Request) -> Response:
        world, id = sandbox.world, request.path_params["id"]
        intent = world.find("payment_intent", id)
        fits = world.side.get(id, {}).get("token") == request.path_params["token"]
        if intent is None or not fits or intent["status"] != "requires_action":
            return _page("Nothing to do", "<p>This payment does not wait for you.</p>", 404)
        amount = shown(intent["amount"], intent["currency"])
        if request.method == "GET":
            return _page("Authenticate", f"<p>Your bank asks: do you pay {amount}?</p>{BUTTONS}")
        passed = await _field(request, "passed") == "yes"
        with world.transaction():
            authenticate(world, intent, passed=passed)
        back = world.side[id].get("return_url")
        return RedirectResponse(back, 303) if back else _page("Thank you", f"<p>{intent['status']}</p>")

    return [
        Route("/3ds/{id}/{token}", bank, methods=["GET", "POST"]),
        Route("/i/{id}/{token}", invoice_page, methods=["GET", "POST"]),
        Route("/i/{id}/{token}/pdf", invoice_pdf),
        Route("/cn/{id}/{token}/pdf", credit_note_pdf),
        Route("/receipts/{id}", receipt),
        Route("/p/session/{id}", portal),
    ]


async def _field(request: Request, name: str) -> str:
    return parse_qs((await request.body()).decode("latin-1")).get(name, [""])[0]


def _day(moment: int | None) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y") if moment else "on receipt"


def _pay(sandbox: Sandbox, invoice: Object, number: str) -> str:
    """The customer pays with a test card, there and then; what came of it, in words."""
    world, card = sandbox.world, card_of_number(number)
    customer = world.find("customer", invoice["customer"])
    if card is None or customer is None:
        return "Your card number is incorrect."
    try:
        with world.transaction():
            method = new_method(world, card, customer=customer)
            if said := attempt(world, invoice, method=method, automatic=False, off_session=False):
                raise said
    except ApiError as refusal:
        return str(refusal.body["message"])
    return "Thank you, it is paid."


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title>"
        f"<body style='font:16px system-ui;max-width:40rem;margin:3rem auto'><h1>{escape(title)}</h1>{body}"
        "<p><small>Sandbox: no money moves here.</small></p>",
        status,
    )


def _pdf(lines: list[str]) -> bytes:
    """A one-page PDF of plain lines."""
    cleaned = [line.replace("\\", "").replace("(", "[").replace(")", "]") for line in lines]
    text = "BT /F1 12 Tf 60 780 Td 18 TL " + " ".join(f"({line}) Tj T*" for line in cleaned) + " ET"
    stream = text.encode("cp1252", "replace")
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return (
        out
        + b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
        + table
        + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, len(out))
    )
