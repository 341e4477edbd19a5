"""The page of refunds, over HTTP and against a sandbox."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from billing.models import SubscriptionEvent
from billing.operations.sweeper import settle_pending
from billing.sync import sync_customer
from organizations.models import Organization
from tests.adminops.pages import Page, Response
from tests.conftest import Sandbox
from tests.factories import AdministratorFactory, GroupFactory, StaffFactory
from tests.operating import make_due
from tests.stripe_world import World, charges_at_stripe, make_customer, make_organization, make_price, read

pytestmark = pytest.mark.django_db(transaction=True)

PERMISSIONS = ["organizations.view_organization", "organizations.refund_invoice"]


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world, name="Northwind Labs")


@pytest.fixture
def colleague() -> Client:
    return login()


def login(*groups: Any) -> Client:
    client = Client()
    user = StaffFactory(permissions=PERMISSIONS)
    user.groups.set(groups)
    client.force_login(user)
    return client


def invoice_of(sandbox: Sandbox, world: World) -> Any:
    return sandbox.client.v1.invoices.list({"customer": world.customer}).data[0]


def url(organization: Organization) -> str:
    return reverse("admin:organizations_organization_refund_invoice", args=[organization.pk])


def home(organization: Organization) -> str:
    return reverse("admin:organizations_organization_change", args=[organization.pk])


def post(client: Client, organization: Organization, invoice: str, **more: str) -> Response:
    answers = {
        "invoice": invoice,
        "destination": "card",
        "amount": "",
        "stripe_reason": "",
        "reason": "they left",
        "ticket": "4711",
        "step": "preview",
    }
    return client.post(url(organization), {**answers, **more})


def token_in(response: Response) -> str:
    found = re.search(r'name="token" value="([^"]+)"', response.content.decode())
    assert found, Page(response).text
    return found[1]


def refunded(sandbox: Sandbox, world: World) -> int:
    return sum(charge.amount_refunded for charge in charges_at_stripe(sandbox, world))


def said(response: Response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def test_an_invoice_is_found_on_the_customers_page_and_refunded(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    invoice = invoice_of(sandbox, world)
    link = f"{url(organization)}?invoice={invoice.id}"
    assert link in colleague.get(home(organization)).content.decode()
    form = colleague.get(link)
    assert f'<option value="{invoice.id}" selected>' in form.content.decode()
    assert "Empty gives back all that is left." in Page(form).text

    shown = post(colleague, organization, invoice.id, amount="29.00")
    text = Page(shown).text
    for expected in (
        f"Paid for {invoice.number}",
        "$232.00 by Visa •••• 4242",
        "Refunded already $0.00",
        "Refunds that the bank has not confirmed $0.00",
        "Credited already $0.00",
        "Remaining $232.00",
        "$29.00 goes back to Visa •••• 4242.",
        "$203.00 is left then.",
        "Refund $29.00",
    ):
        assert expected in text
    assert refunded(sandbox, world) == 0

    done = post(colleague, organization, invoice.id, amount="29.00", step="apply", token=token_in(shown))
    assert done.status_code == 302
    assert re.match(
        r"\$29\.00 of invoice \S+ refunded to the card •••• 4242\. Stripe confirmed at ", said(done)
    )
    assert refunded(sandbox, world) == 2900
    event = SubscriptionEvent.objects.get(source="staff")
    assert (event.reason, event.ticket, event.amount) == ("they left", "4711", 2900)
    assert "Partly refunded" in Page(colleague.get(home(organization))).text


def test_an_empty_amount_is_all_that_is_left_and_says_so(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    text = Page(post(colleague, organization, invoice_of(sandbox, world).id)).text
    assert "Refund $232.00" in text
    assert "That is all that is left of this invoice." in text


def test_a_credit_says_where_it_goes(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    invoice = invoice_of(sandbox, world).id
    shown = post(colleague, organization, invoice, destination="balance", amount="10")
    assert "Credit $10.00 to the balance" in Page(shown).text
    assert "no money goes to a card" in Page(shown).text
    more = {"destination": "balance", "amount": "10", "step": "apply", "token": token_in(shown)}
    sentence = said(post(colleague, organization, invoice, **more))
    assert re.match(r"\$10\.00 of invoice \S+ credited to the customer's balance", sentence)
    assert sandbox.client.v1.customers.retrieve(world.customer).balance == -1000
    assert refunded(sandbox, world) == 0


@pytest.mark.parametrize(
    ("amount", "sentence"),
    [
        ("0", "A refund of nothing"),
        ("0.00", "A refund of nothing"),
        ("-5", "without a minus"),
        ("1e9", "is not an amount"),
        ("19.999", "at most 2 decimals"),
        ("232.01", "At most $232.00 can go back"),
        ("¥500", "This invoice is in USD"),
        ("\x00", "ull characters are not allowed"),
        ("9" * 5000, "at most 60 characters"),
    ],
)
def test_a_bad_amount_gets_a_sentence_and_nothing_goes_back(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    colleague: Client,
    amount: str,
    sentence: str,
) -> None:
    invoice = invoice_of(sandbox, world).id
    token = token_in(post(colleague, organization, invoice, amount="5"))
    for step in ("preview", "apply"):
        response = post(colleague, organization, invoice, amount=amount, step=step, token=token)
        assert response.status_code == 200
        assert sentence in Page(response).text or (step, amount) == ("apply", "232.01")
    assert refunded(sandbox, world) == 0
    assert not SubscriptionEvent.objects.filter(source="staff").exists()


@pytest.mark.parametrize(
    ("currency", "unit", "text", "minor"),
    [("jpy", 4900, "¥500", 500), ("kwd", 12_340, "12.340", 12_340), ("eur", 190_000, "1 000,50", 100_050)],
)
def test_each_currency_has_its_decimals(
    sandbox: Sandbox, colleague: Client, currency: str, unit: int, text: str, minor: int
) -> None:
    world = make_customer(sandbox, price=make_price(sandbox.client, amount=unit, currency=currency))
    organization, invoice = make_organization(world), invoice_of(sandbox, world).id
    token = token_in(post(colleague, organization, invoice, amount=text))
    assert post(colleague, organization, invoice, amount=text, step="apply", token=token).status_code == 302
    assert refunded(sandbox, world) == minor


def test_a_currency_of_three_decimals_ends_in_zero_and_the_page_says_so(
    sandbox: Sandbox, colleague: Client
) -> None:
    world = make_customer(sandbox, price=make_price(sandbox.client, amount=50_000, currency="kwd"))
    refused = post(colleague, make_organization(world), invoice_of(sandbox, world).id, amount="12.345")
    assert "In KWD the last digit must be 0, such as 12.340." in Page(refused).text


def test_a_dispute_is_shown_while_it_is_open_and_once_it_is_lost(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    invoice = invoice_of(sandbox, world).id
    (charge,) = charges_at_stripe(sandbox, world)

    def shown() -> str:
        return Page(post(colleague, organization, invoice, destination="balance")).text

    assert "ispute" not in shown()
    opened = sandbox.control("POST", "disputes", {"charge": charge.id, "amount": 20_000})["id"]
    text = shown()
    assert "Disputed by the bank, not decided yet $200.00" in text
    assert "Remaining $32.00" in text
    assert "Credit $32.00 to the balance" in text
    assert "whoever loses a dispute after a refund pays twice" in text
    sandbox.control("POST", "disputes", {"dispute": opened, "won": False})
    text = shown()
    assert "Lost in a dispute $200.00" in text
    assert "Remaining $32.00" in text
    assert "That is all that is left of this invoice." in text
    assert "pays twice" not in text


def test_another_organizations_invoice_is_refused(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    other = make_customer(sandbox)
    make_organization(other)
    foreign = invoice_of(sandbox, other).id
    linked = colleague.get(url(organization), {"invoice": foreign})
    assert "is not one that this organization paid" in Page(linked).text
    assert (
        "This invoice is not one that this organization paid"
        in Page(post(colleague, organization, foreign)).text
    )
    assert colleague.get(url(organization), {"invoice": "\x00"}).status_code == 200


def test_nothing_paid_is_nothing_to_refund(sandbox: Sandbox, colleague: Client) -> None:
    customer = sandbox.client.v1.customers.create({"name": "New"})
    organization = make_organization(World(customer.id, "", "", ""))
    assert "No invoice of this organization has been paid" in Page(colleague.get(url(organization))).text


def test_a_limit_is_shown_before_and_held(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.REFUND_LIMITS = {"Support": {"usd": [10_000, 15_000]}}
    limited, invoice = login(GroupFactory(name="Support")), invoice_of(sandbox, world).id
    shown = post(limited, organization, invoice, amount="100.01")
    assert "more than you may give back at once ($100.00)" in Page(shown).text
    assert 'value="apply"' not in shown.content.decode()
    refused = post(limited, organization, invoice, amount="100.01", step="apply", token=token_in(shown))
    assert "Ask a colleague in finance. Nothing was changed." in Page(refused).text
    assert refunded(sandbox, world) == 0
    (line,) = SubscriptionEvent.objects.filter(source="staff")
    assert line.type == "permission.denied"
    number = invoice_of(sandbox, world).number
    told = f"tried to refund $100.01 of {number}, over the limit of $100.00. Nothing was changed."
    assert (line.message or "").endswith(told)
    assert (line.reason, line.ticket) == ("they left", "4711")
    assert (line.amount, line.currency, line.stripe_invoice_id) == (10_001, "usd", invoice)
    auditor = Client()
    auditor.force_login(StaffFactory(permissions=["billing.view_subscriptionevent"]))
    events = reverse("admin:billing_subscriptionevent_changelist")
    for address in (events, reverse("admin:billing_subscriptionevent_change", args=[line.pk])):
        response = auditor.get(address)
        assert re.search(r'bo-badge bo-amber">(?:(?!bo-badge).)*<span>Refused<', response.content.decode())
        assert "$100.01" in Page(response).text


def test_the_second_person_sees_whose_refund_is_under_way_and_why(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    invoice = invoice_of(sandbox, world)
    token = token_in(post(colleague, organization, invoice.id, amount="5"))
    sandbox.control("POST", "faults", {"kind": "timeout_after", "method": "POST", "path": "/v1/refunds"})
    done = post(colleague, organization, invoice.id, amount="5", step="apply", token=token)
    assert "we do not know yet" in said(done)
    second = login()
    text = Page(second.get(url(organization))).text
    assert f"A refund of $5.00 of {invoice.number} by" in text
    assert "still in progress (“they left”)" in text
    assert "“they left”" in Page(post(second, organization, invoice.id, amount="5")).text
    make_due()
    settle_pending()
    assert "Refund $5.00" in Page(post(second, organization, invoice.id, amount="5")).text
    assert refunded(sandbox, world) == 500


def test_a_refund_that_fails_later_stands_in_red_until_it_is_made_up_for(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    colleague: Client,
    arriving_webhooks: str,
) -> None:
    invoice = invoice_of(sandbox, world).id

    def give_back(amount: str = "29", **more: str) -> Response:
        token = token_in(post(colleague, organization, invoice, amount=amount, **more))
        return post(colleague, organization, invoice, amount=amount, step="apply", token=token, **more)

    assert give_back().status_code == 302
    made = SubscriptionEvent.objects.get(source="staff").stripe_refund_id
    wrong = {"refund": made, "status": "failed", "failure_reason": "lost_or_stolen_card"}
    sandbox.control("POST", "refunds", wrong)
    while (
        sandbox.control("GET", "deliveries")["waiting"]
        or not SubscriptionEvent.objects.filter(type="refund.failed").exists()
    ):
        pass
    sync_customer(world.customer)

    page = colleague.get(home(organization))
    assert re.search(
        r'class="bo-note bo-red">(?:(?!</div>).)*The refund of \$29', page.content.decode(), re.S
    )
    text = Page(page).text
    assert "failed: the card was lost or stolen. The money is back in your Stripe balance" in text
    assert f"{url(organization)}?invoice={invoice}" in Page(page).links
    assert "Refund or credit it again" in text
    # Read anew from the beginning, the charge says that nothing was refunded; the failure stays known.
    read(world)
    assert "the card was lost or stolen" in Page(colleague.get(home(organization))).text

    # What the colleague did says so too, for good, and leads to the refund.
    administrator = Client()
    administrator.force_login(AdministratorFactory())
    page = administrator.get(home(organization))
    (line,) = [
        line for line in page.context["timeline"].lines if line.event.stripe_refund_id == made and line.who
    ]
    assert line.undone == "failed later: the card was lost or stolen"
    assert line.undone_url == f"/admin/djstripe/refund/?q={made}"
    assert line.undone_url in Page(page).links

    # Less than failed, given back another way, is not enough.
    assert give_back(amount="28.99", destination="balance").status_code == 302
    assert "The money is back in your Stripe balance" in Page(colleague.get(home(organization))).text
    assert give_back(amount="0.01", destination="balance").status_code == 302
    assert "The money is back in your Stripe balance" not in Page(colleague.get(home(organization))).text
    assert "failed later: the card was lost or stolen" in Page(administrator.get(home(organization))).text


def test_without_the_permission_there_is_no_link(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    onlooker = Client()
    onlooker.force_login(StaffFactory(permissions=["organizations.view_organization"]))
    content = onlooker.get(home(organization)).content.decode()
    assert "?invoice=" not in content
    assert onlooker.get(url(organization)).status_code == 403
