"""Collection that is paused: what is not asked for meanwhile, and what goes on."""

import pytest
import stripe

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
HOUR = 3600
FEBRUARY = START + 31 * DAY


def newest(api, subscription):
    return api.invoices.list({"subscription": subscription.id, "limit": 1}).data[0]


def pause(api, subscription, behavior, **more):
    wish = {"pause_collection": {"behavior": behavior, **more}}
    return api.subscriptions.update(subscription.id, wish)


def test_no_renewal_is_announced_while_collection_is_paused(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription()
    pause(api, subscription, "void")
    sandbox.clock(FEBRUARY - DAY)
    assert api.events.list({"type": "invoice.upcoming"}).data == []


def test_a_draft_from_before_the_pause_goes_on(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription()
    sandbox.clock(FEBRUARY)
    pause(api, subscription, "void")
    sandbox.clock(FEBRUARY + HOUR)
    assert newest(api, subscription).status == "paid"


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("void", "void"), ("mark_uncollectible", "uncollectible"), ("keep_as_draft", "draft")],
)
def test_a_change_while_paused_charges_nothing(sandbox, api, shop, behavior, status):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    pause(api, subscription, behavior)
    sandbox.clock(START + DAY)
    item = {"id": subscription["items"].data[0].id, "quantity": 12}
    changed = api.subscriptions.update(
        subscription.id, {"items": [item], "proration_behavior": "always_invoice"}
    )
    assert (changed.status, changed["items"].data[0].quantity) == ("active", 12)
    invoice = newest(api, subscription)
    assert (invoice.billing_reason, invoice.status) == ("subscription_update", status)
    assert len(api.charges.list({"customer": subscription.customer}).data) == 1


def test_a_pause_cannot_end_in_the_past(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription()
    with pytest.raises(stripe.InvalidRequestError) as caught:
        pause(api, subscription, "void", resumes_at=START)
    assert caught.value.param == "pause_collection[resumes_at]"
