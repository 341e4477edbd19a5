"""Prices in tiers: who sees the tiers, the lines they make, and what a change in the middle of a period costs."""

import pytest
import stripe

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
TIERS = [
    {"up_to": 5, "unit_amount": 1000, "flat_amount": 300},
    {"up_to": 10, "unit_amount_decimal": "3.6"},
    {"up_to": "inf", "flat_amount": 0},
]


def tiered(api, mode, **more):
    return api.prices.create(
        {
            "currency": "usd",
            "billing_scheme": "tiered",
            "tiers_mode": mode,
            "tiers": TIERS,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Team", "unit_label": "seat"},
            **more,
        }
    )


def lines(invoice):
    return [(line.description, line.quantity, line.amount) for line in invoice.lines.data]


def test_tiers_are_shown_to_those_who_ask(api, shop):
    made = tiered(api, "graduated", expand=["tiers"])
    assert [(tier.up_to, str(tier.unit_amount_decimal), tier.flat_amount) for tier in made.tiers] == [
        (5, "1000", 300),
        (10, "3.6", None),
        (None, "None", 0),
    ]
    assert "tiers" not in api.prices.retrieve(made.id)
    assert "tiers" not in api.prices.list().data[0]
    assert api.prices.list({"expand": ["data.tiers"]}).data[0].tiers == made.tiers
    id = shop.subscription(price=made).id
    seen = api.subscriptions.retrieve(id, {"expand": ["items.data.price.tiers"]})
    assert seen["items"].data[0].price.tiers == made.tiers
    assert "tiers" not in api.subscriptions.retrieve(id)["items"].data[0].price
    with pytest.raises(stripe.InvalidRequestError, match="more than 4 levels"):
        api.subscriptions.list({"expand": ["data.items.data.price.tiers"]})


def test_events_tell_no_tiers(api):
    tiered(api, "volume")
    (event,) = api.events.list({"type": "price.created"}).data
    assert "tiers" not in event.data.object


@pytest.mark.parametrize(
    ("mode", "quantity", "told"),
    [
        (
            "graduated",
            3,
            [
                ("3 seat × Team (Tier 1 at $10.00 / month)", 3, 3000),
                ("Team (Tier 1 at $3.00 / month)", 0, 300),
            ],
        ),
        (
            "graduated",
            12,
            [
                ("5 seat × Team (Tier 1 at $10.00 / month)", 5, 5000),
                ("Team (Tier 1 at $3.00 / month)", 0, 300),
                ("5 seat × Team (Tier 2 at $0.036 / month)", 5, 18),
                ("2 seat × Team (Tier 3 at $0.00 / month)", 2, 0),
                ("Team (Tier 3 at $0.00 / month)", 0, 0),
            ],
        ),
        ("volume", 8, [("8 seat × Team (Tier 2 at $0.036 / month)", 8, 29)]),
    ],
)
def test_each_tier_used_has_a_line_and_another_for_its_flat_amount(sandbox, api, shop, mode, quantity, told):
    sandbox.clock(START)
    subscription = shop.subscription(quantity, price=tiered(api, mode))
    assert lines(subscription.latest_invoice) == told
    sandbox.clock(START + 31 * DAY)
    renewal = api.invoices.list({"subscription": subscription.id, "limit": 1}).data[0]
    assert renewal.billing_reason == "subscription_cycle"
    assert lines(renewal) == told


def test_a_change_credits_all_tiers_in_one_line(sandbox, api, shop):
    sandbox.clock(START)
    coupon = api.coupons.create({"amount_off": 1000, "currency": "usd", "duration": "forever"})
    subscription = shop.subscription(7, price=tiered(api, "graduated"), discounts=[{"coupon": coupon.id}])
    first = subscription.latest_invoice
    assert first.total == 5000 + 300 + 7 - 1000
    at = START + 31 * DAY // 2
    sandbox.clock(at)
    items = [{"id": subscription["items"].data[0].id, "quantity": 3}]
    changed = api.subscriptions.update(
        subscription.id,
        {
            "items": items,
            "proration_behavior": "always_invoice",
            "proration_date": at,
            "expand": ["latest_invoice"],
        },
    )
    credit, charge = changed.latest_invoice.lines.data
    assert (credit.description, credit.quantity) == ("Unused time on 7 seat × Team after 16 Jan 2026", 7)
    credited = credit.parent.subscription_item_details.proration_details.credited_items
    assert credited.invoice_line_items == [line.id for line in first.lines.data]
    # Half of what was paid: the discount was shared by the lines, and counts once.
    assert credit.amount == -2154
    assert (charge.description, charge.amount) == ("Remaining time on 3 seat × Team after 16 Jan 2026", 1150)
