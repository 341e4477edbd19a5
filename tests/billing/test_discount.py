"""Coupons: what one takes off is said to the cent, put on once, and what was there stays."""

from typing import Any, cast

import pytest
import stripe
from pytest_django import Settings

from billing.errors import OperationRefused, PreviewOutdated
from billing.models import SubscriptionEvent
from billing.operations.sweeper import settle_pending
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.operating import Shown, grow_older, make_due, show
from tests.stripe_world import World, make_customer, make_organization, make_price, read

pytestmark = pytest.mark.django_db(transaction=True)

PRICE = 8 * 2900


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def coupon(sandbox: Sandbox, **fields: Any) -> stripe.Coupon:
    off = {} if "amount_off" in fields else {"percent_off": 20}
    return sandbox.client.v1.coupons.create(cast(Any, {"duration": "forever", **off, **fields}))


def promotion(sandbox: Sandbox, coupon_id: str, **fields: Any) -> stripe.PromotionCode:
    return sandbox.client.v1.promotion_codes.create(
        cast(Any, {"promotion": {"type": "coupon", "coupon": coupon_id}, **fields})
    )


def with_code(organization: Organization, code: str) -> Shown:
    return show("apply_discount", organization, code=code)


def at_stripe(sandbox: Sandbox, world: World) -> list[str]:
    """The coupons that the subscription has, in their order."""
    subscription = sandbox.client.v1.subscriptions.retrieve(
        world.subscription, {"expand": ["discounts.source.coupon"]}
    )
    return [each.source.coupon.id for each in subscription.discounts]


def discounts(sandbox: Sandbox, world: World) -> list[str]:
    """Their ids as discounts."""
    return [str(each) for each in sandbox.client.v1.subscriptions.retrieve(world.subscription).discounts]


def fault(sandbox: Sandbox, world: World, kind: str) -> None:
    path = f"/v1/subscriptions/{world.subscription}"
    sandbox.control("POST", "faults", {"kind": kind, "method": "POST", "path": path})


def updates(sandbox: Sandbox, world: World) -> list[dict[str, Any]]:
    return [
        call
        for call in sandbox.control("GET", "log")["calls"]
        if call["method"] == "POST" and call["path"] == f"/v1/subscriptions/{world.subscription}"
    ]


def test_a_coupon_is_put_on_and_takes_off_what_was_shown(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    made = coupon(sandbox, percent_off=12.5, name="Spring")
    shown = with_code(organization, f"  {made.id} ")
    preview = shown.preview
    assert (preview.recurring_before, preview.recurring_after) == (PRICE, 20_300)
    assert (preview.next_before, preview.next_after) == (PRICE, 20_300)
    assert str(preview.reduction) == "12.5% off forever"
    assert at_stripe(sandbox, world) == []
    assert not SubscriptionEvent.objects.exists()

    event = shown.apply(reason="loyal customer")

    organization.refresh_from_db()
    assert at_stripe(sandbox, world) == [made.id]
    assert organization.mrr == 20_300
    assert event.message == ("Coupon “Spring” applied: 12.5% off forever. Each period now costs $203.00.")
    assert (event.state, event.reason, event.stripe_subscription_id) == (
        "done",
        "loyal customer",
        world.subscription,
    )
    sandbox.control("POST", "clock", {"advance": 32 * 86_400})
    newest = sandbox.client.v1.invoices.list({"customer": world.customer}).data[0]
    assert newest.total == preview.next_after


def test_a_coupon_is_found_whatever_its_id_is_made_of(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    made = coupon(sandbox, id="50?limit=1#x y")
    assert with_code(organization, made.id).apply().state == "done"
    assert at_stripe(sandbox, world) == [made.id]


def test_where_seats_are_planned_the_refusal_says_what_to_do(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    show("schedule_seats", organization, seats=12, when="renewal").apply()
    with pytest.raises(OperationRefused, match="until that is done or withdrawn"):
        with_code(organization, coupon(sandbox).id)


def test_a_coupon_for_once_reduces_the_next_invoice_and_none_after(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    made = coupon(sandbox, amount_off=5_000, currency="usd", duration="once")
    shown = with_code(organization, made.id)
    assert (shown.preview.next_before, shown.preview.next_after) == (PRICE, PRICE - 5_000)
    assert (shown.preview.recurring_before, shown.preview.recurring_after) == (PRICE, PRICE)
    assert str(shown.preview.reduction) == "$50.00 off once"
    assert shown.apply().state == "done"
    sandbox.control("POST", "clock", {"advance": 32 * 86_400})
    newest = sandbox.client.v1.invoices.list({"customer": world.customer}).data[0]
    assert newest.total == PRICE - 5_000


def test_a_promotion_code_is_found_in_any_case_and_redeemed_as_such(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    made = coupon(sandbox, duration="repeating", duration_in_months=3)
    code = promotion(sandbox, made.id, code="SPRING20")
    shown = with_code(organization, "spring20")
    assert shown.preview.promotion_code_id == code.id
    assert str(shown.preview.reduction) == "20% off for 3 months"
    shown.apply()
    assert at_stripe(sandbox, world) == [made.id]
    assert sandbox.client.v1.promotion_codes.retrieve(code.id).times_redeemed == 1


def test_discounts_that_are_there_are_kept_as_they_are(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    first = coupon(sandbox, percent_off=50)
    with_code(organization, first.id).apply()
    [kept] = discounts(sandbox, world)
    second = coupon(sandbox, amount_off=1_000, currency="usd")

    shown = with_code(organization, second.id)

    assert [each.id for each in shown.preview.kept] == [kept]
    assert shown.preview.recurring_after == PRICE // 2 - 1_000
    shown.apply()
    assert at_stripe(sandbox, world) == [first.id, second.id]
    assert discounts(sandbox, world)[0] == kept
    with pytest.raises(OperationRefused, match="already"):
        with_code(organization, second.id)


def test_a_coupon_limited_to_a_product_takes_nothing_off_another(
    sandbox: Sandbox, organization: Organization
) -> None:
    other = sandbox.client.v1.products.create({"name": "Support"})
    made = coupon(sandbox, applies_to={"products": [other.id]})
    assert with_code(organization, made.id).preview.recurring_after == PRICE


def test_a_coupon_with_an_amount_in_the_subscriptions_currency_fits(sandbox: Sandbox) -> None:
    world = make_customer(sandbox, price=make_price(sandbox.client, amount=4900, currency="jpy"))
    organization = make_organization(world)
    made = coupon(sandbox, amount_off=1_000, currency="usd", currency_options={"jpy": {"amount_off": 1_500}})
    shown = with_code(organization, made.id)
    assert str(shown.preview.reduction) == "¥1,500 off forever"
    assert shown.preview.recurring_after == 8 * 4900 - 1_500


def test_what_cannot_be_used_is_refused_in_words(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    client = sandbox.client
    now = sandbox.control("GET", "clock")["now"]

    def refused(code: str, words: str) -> None:
        with pytest.raises(OperationRefused, match=words):
            with_code(organization, code)

    refused("", "Say which coupon")
    refused("x" * 501, "Say which coupon")
    refused("NOBODY", "knows no coupon and no promotion code")
    refused("../customers", "knows no coupon and no promotion code")
    euros = coupon(sandbox, amount_off=500, currency="eur", id="euros")
    refused(euros.id, r"takes off €5.00; this subscription is in USD")
    once = coupon(sandbox, max_redemptions=1, id="single")
    other = make_customer(sandbox)
    client.v1.subscriptions.update(other.subscription, {"discounts": [{"coupon": once.id}]})
    refused(once.id, "is used up: it could be used 1 time")
    short = coupon(sandbox, redeem_by=now + 60, id="short")
    code = promotion(sandbox, coupon(sandbox).id, code="BRIEF", expires_at=now + 60)
    sandbox.control("POST", "clock", {"advance": 120})
    refused(short.id, "The coupon short expired on")
    refused(code.code, "has expired, is used up or was switched off")
    promotion(sandbox, coupon(sandbox).id, code="THEIRS", customer=other.customer)
    refused("THEIRS", "is for another customer")
    first = {"first_time_transaction": True}
    promotion(sandbox, coupon(sandbox).id, code="WELCOME", restrictions=first)
    refused("WELCOME", "only for a customer's first purchase")
    least = {"minimum_amount": 100_000, "minimum_amount_currency": "usd"}
    promotion(sandbox, coupon(sandbox).id, code="BIG", restrictions=least)
    refused("BIG", r"only from \$1,000.00 on")
    assert not SubscriptionEvent.objects.exists()
    assert updates(sandbox, world) == []


def test_a_coupon_put_on_by_somebody_else_meanwhile_makes_the_preview_old(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = with_code(organization, coupon(sandbox).id)
    theirs = coupon(sandbox)
    sandbox.client.v1.subscriptions.update(world.subscription, {"discounts": [{"coupon": theirs.id}]})
    with pytest.raises(PreviewOutdated):
        shown.apply()
    assert at_stripe(sandbox, world) == [theirs.id]


@pytest.mark.parametrize(
    "kind", ["timeout_before", "timeout_after", "error_500", "error_500_after", "drop_connection_after"]
)
def test_an_unknown_outcome_ends_in_the_truth(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings, kind: str
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    made = coupon(sandbox)
    shown = with_code(organization, made.id)
    fault(sandbox, world, kind)

    event = shown.apply()

    assert event.state == "pending"
    for _ in range(4):
        make_due()
        settle_pending()
    event.refresh_from_db()
    done = at_stripe(sandbox, world) == [made.id]
    assert event.state == ("done" if done else "failed")
    assert done is (kind != "error_500")
    assert sandbox.client.v1.coupons.retrieve(made.id).times_redeemed == (1 if done else 0)
    assert len({call["key"] for call in updates(sandbox, world)}) == 1


def test_past_a_day_it_is_looked_up_and_not_sent_again(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    shown = with_code(organization, coupon(sandbox).id)
    fault(sandbox, world, "timeout_before")
    event = shown.apply()
    grow_older(25 * 3600)
    make_due()
    settle_pending()
    event.refresh_from_db()
    assert event.state == "failed"
    assert len(updates(sandbox, world)) == 1


# -- removing ---------------------------------------------------------------------------------------------


def remove(organization: Organization, discount: str) -> Shown:
    return show("remove_discount", organization, discount=discount)


def test_one_discount_goes_and_the_others_stay(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    for made in (coupon(sandbox, percent_off=50, id="half"), coupon(sandbox, id="fifth")):
        with_code(organization, made.id).apply()
    half, fifth = discounts(sandbox, world)
    shown = remove(organization, half)
    assert shown.preview.recurring_before == PRICE * 4 // 10
    assert shown.preview.recurring_after == PRICE * 8 // 10

    event = shown.apply()

    assert discounts(sandbox, world) == [fifth]
    assert event.message == "Coupon “half” (50% off forever) removed. Each period now costs $185.60."
    with pytest.raises(OperationRefused, match="not there any more"):
        remove(organization, half)
    remove(organization, fifth).apply()
    assert discounts(sandbox, world) == []
    organization.refresh_from_db()
    assert organization.mrr == PRICE


def test_without_a_discount_there_is_nothing_to_remove(organization: Organization) -> None:
    with pytest.raises(OperationRefused, match="has a coupon"):
        remove(organization, "di_none")


@pytest.fixture
def of_customer(sandbox: Sandbox, world: World, organization: Organization) -> str:
    """A discount that the customer has, not the subscription."""
    made = coupon(sandbox, percent_off=10, id="tenth")
    sandbox.control("POST", "discounts", {"customer": world.customer, "coupon": made.id})
    read(world)
    discount = sandbox.client.v1.customers.retrieve(world.customer).discount
    assert discount
    return discount.id


def test_a_subscriptions_coupon_takes_the_place_of_its_customers(
    sandbox: Sandbox, world: World, organization: Organization, of_customer: str
) -> None:
    shown = with_code(organization, coupon(sandbox).id)
    assert shown.preview.of_customer.id == of_customer
    assert (shown.preview.recurring_before, shown.preview.recurring_after) == (
        PRICE * 9 // 10,
        PRICE * 8 // 10,
    )
    shown.apply()
    [own] = discounts(sandbox, world)
    back = remove(organization, own)
    assert (back.preview.recurring_before, back.preview.recurring_after) == (PRICE * 8 // 10, PRICE * 9 // 10)
    assert back.apply().state == "done"
    sandbox.control("POST", "clock", {"advance": 32 * 86_400})
    newest = sandbox.client.v1.invoices.list({"customer": world.customer}).data[0]
    assert newest.total == PRICE * 9 // 10


@pytest.mark.parametrize("kind", [None, "timeout_before", "timeout_after", "error_500_after"])
def test_the_customers_own_discount_goes_by_its_own_address(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    of_customer: str,
    settings: Settings,
    kind: str | None,
) -> None:
    shown = remove(organization, of_customer)
    assert shown.preview.is_customers
    assert (shown.preview.recurring_before, shown.preview.recurring_after) == (PRICE * 9 // 10, PRICE)
    if kind:
        settings.STRIPE_READ_TIMEOUT = 0.7
        path = f"/v1/customers/{world.customer}/discount"
        sandbox.control("POST", "faults", {"kind": kind, "method": "DELETE", "path": path})

    event = shown.apply()

    assert event.state == ("pending" if kind else "done")
    make_due()
    settle_pending()
    event.refresh_from_db()
    assert event.state == "done"
    assert sandbox.client.v1.customers.retrieve(world.customer).discount is None


def test_a_discount_that_the_customer_got_since_is_not_taken_away(
    sandbox: Sandbox, world: World, organization: Organization, of_customer: str, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    shown = remove(organization, of_customer)
    path = f"/v1/customers/{world.customer}/discount"
    sandbox.control("POST", "faults", {"kind": "timeout_before", "method": "DELETE", "path": path})
    event = shown.apply()
    other = coupon(sandbox, id="other")
    sandbox.control("POST", "discounts", {"customer": world.customer, "coupon": other.id})
    make_due()
    settle_pending()
    event.refresh_from_db()
    assert event.state == "done"  # it is gone, whoever took it
    discount = sandbox.client.v1.customers.retrieve(world.customer).discount
    assert discount
    assert discount.source.coupon == other.id
