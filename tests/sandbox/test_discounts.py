"""Coupons, promotion codes and discounts: what they take off, whom they reduce, and when they end."""

import pytest
import stripe

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
MONTH = 31 * DAY


def newest(api, subscription):
    return api.invoices.list({"subscription": subscription.id, "limit": 1}).data[0]


def coupon(api, **fields):
    return api.coupons.create({"percent_off": 20, "duration": "forever", **fields})


def test_a_percentage_is_taken_off_every_invoice(sandbox, api, shop):
    sandbox.clock(START)
    made = coupon(api, percent_off=12.5)
    subscription = shop.subscription(4, discounts=[{"coupon": made.id}])
    invoice = subscription.latest_invoice
    assert (invoice.subtotal, invoice.total, invoice.amount_paid) == (10_000, 8_750, 8_750)
    assert invoice.total_excluding_tax == 8_750
    assert [amount.to_dict() for amount in invoice.total_discount_amounts] == [
        {"amount": 1250, "discount": subscription.discounts[0]}
    ]
    [line] = invoice.lines.data
    assert (line.amount, line.discount_amounts[0].amount) == (10_000, 1_250)
    sandbox.clock(START + MONTH + 3700)
    assert newest(api, subscription).amount_paid == 8_750


def test_once_reduces_one_invoice_and_is_gone(sandbox, api, shop):
    sandbox.clock(START)
    made = api.coupons.create({"amount_off": 700, "currency": "usd", "duration": "once"})
    subscription = shop.subscription(4, discounts=[{"coupon": made.id}])
    assert subscription.latest_invoice.total == 9_300
    assert api.subscriptions.retrieve(subscription.id).discounts == []
    assert api.events.list({"type": "customer.discount.deleted"}).data[0].data.object.id.startswith("di_")
    sandbox.clock(START + MONTH + 3700)
    assert newest(api, subscription).total == 10_000


def test_once_waits_for_the_end_of_a_trial(sandbox, api, shop):
    sandbox.clock(START)
    discounts = [{"coupon": coupon(api, duration="once").id}]
    subscription = shop.subscription(4, discounts=discounts, trial_period_days=7)
    assert len(subscription.discounts) == 1
    sandbox.clock(START + 7 * DAY + 3700)
    assert newest(api, subscription).total == 8_000
    assert api.subscriptions.retrieve(subscription.id).discounts == []


def test_repeating_ends_after_its_months(sandbox, api, shop):
    sandbox.clock(START)
    made = coupon(api, duration="repeating", duration_in_months=2)
    subscription = shop.subscription(
        4, discounts=[{"coupon": made.id}], expand=["latest_invoice", "discounts.source.coupon"]
    )
    [discount] = subscription.discounts
    assert discount.end == START + 59 * DAY
    assert (discount.source.type, discount.source.coupon.percent_off) == ("coupon", 20)
    totals = [subscription.latest_invoice.total]
    for days in (31, 59, 90):
        sandbox.clock(START + days * DAY + 3700)
        totals.append(newest(api, subscription).total)
    assert totals == [8_000, 8_000, 10_000, 10_000]
    assert api.subscriptions.retrieve(subscription.id).discounts == []


def test_a_deleted_coupon_goes_on_reducing_whom_it_reduced(sandbox, api, shop):
    sandbox.clock(START)
    made = coupon(api)
    subscription = shop.subscription(4, discounts=[{"coupon": made.id}])
    assert api.coupons.delete(made.id).deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such coupon"):
        shop.subscription(1, discounts=[{"coupon": made.id}])
    sandbox.clock(START + MONTH + 3700)
    assert newest(api, subscription).total == 8_000
    expanded = api.subscriptions.retrieve(subscription.id, {"expand": ["discounts.source.coupon"]})
    assert expanded.discounts[0].source.coupon.valid is False


def test_several_discounts_apply_one_after_the_other(api, shop):
    off = api.coupons.create({"amount_off": 1000, "currency": "usd", "duration": "forever"})
    both = [{"coupon": coupon(api, percent_off=50).id}, {"coupon": off.id}]
    subscription = shop.subscription(4, discounts=both)
    assert [each.amount for each in subscription.latest_invoice.total_discount_amounts] == [5_000, 1_000]
    assert subscription.latest_invoice.total == 4_000


@pytest.mark.parametrize(("mode", "credited"), [("flexible", -417), ("classic", -250)])
def test_an_amount_is_shared_by_the_lines_and_credited_as_it_was(sandbox, api, shop, mode, credited):
    sandbox.clock(START)
    off = api.coupons.create({"amount_off": 500, "currency": "usd", "duration": "forever"})
    subscription = api.subscriptions.create(
        {
            "customer": shop.customer().id,
            "items": [{"price": shop.price(1000).id}, {"price": shop.price(2000).id}],
            "discounts": [{"coupon": off.id}],
            "billing_mode": {"type": mode},
            "expand": ["latest_invoice"],
        }
    )
    shares = [line.discount_amounts[0].amount for line in subscription.latest_invoice.lines.data]
    assert shares == [166, 334]
    sandbox.clock(START + MONTH // 2)
    gone = {"id": subscription["items"].data[0].id, "deleted": True}
    api.subscriptions.update(subscription.id, {"items": [gone], "proration_date": START + MONTH // 2})
    [item] = api.invoice_items.list({"customer": subscription.customer}).data
    assert item.amount == credited


def test_prorations_are_net_of_discounts_and_not_reduced_again(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(4, discounts=[{"coupon": coupon(api).id}])
    at = START + MONTH // 2
    sandbox.clock(at)
    items = [{"id": subscription["items"].data[0].id, "quantity": 6}]
    change = {"items": items, "proration_behavior": "always_invoice", "proration_date": at}
    preview = api.invoices.create_preview({"subscription": subscription.id, "subscription_details": change})
    changed = api.subscriptions.update(subscription.id, {**change, "expand": ["latest_invoice"]})
    invoice = changed.latest_invoice
    assert [line.amount for line in invoice.lines.data] == [-4_000, 6_000]
    assert (preview.total, invoice.total) == (2_000, 2_000)
    charge = next(each for each in api.invoice_items.list().data if each.amount > 0)
    assert charge.proration_details.discount_amounts[0].amount == 1_500


def test_a_coupon_for_some_products_leaves_the_others_alone(api, shop):
    seats, support = shop.price(1000), shop.price(700)
    made = coupon(api, applies_to={"products": [support.product]})
    items = [{"price": seats.id}, {"price": support.id}]
    customer = shop.customer()
    params = {"customer": customer.id, "items": items, "discounts": [{"coupon": made.id}]}
    subscription = api.subscriptions.create({**params, "expand": ["latest_invoice"]})
    assert [len(line.discount_amounts) for line in subscription.latest_invoice.lines.data] == [0, 1]
    assert subscription.latest_invoice.total == 1560
    expanded = api.coupons.retrieve(made.id, {"expand": ["applies_to"]})
    assert expanded.applies_to.products == [support.product]


def test_an_items_own_discount_reduces_only_its_line(api, shop):
    seats, support = shop.price(1000), shop.price(700)
    items = [{"price": seats.id, "discounts": [{"coupon": coupon(api).id}]}, {"price": support.id}]
    params = {"customer": shop.customer().id, "items": items, "expand": ["latest_invoice"]}
    subscription = api.subscriptions.create(params)
    assert subscription.latest_invoice.total == 800 + 700
    assert len(subscription["items"].data[0].discounts) == 1


def test_discounts_can_be_kept_added_and_cleared(api, shop):
    subscription = shop.subscription(4, discounts=[{"coupon": coupon(api).id}])
    [kept] = subscription.discounts
    more = [{"discount": kept}, {"coupon": coupon(api, percent_off=10).id}]
    changed = api.subscriptions.update(subscription.id, {"discounts": more})
    assert changed.discounts[0] == kept
    assert api.invoices.create_preview({"subscription": subscription.id}).total == 7_200
    without = api.invoices.create_preview({"subscription": subscription.id, "discounts": ""})
    assert without.total == 10_000
    assert api.subscriptions.update(subscription.id, {"discounts": ""}).discounts == []
    assert len(api.events.list({"type": "customer.discount.deleted"}).data) == 2


def test_a_coupon_ends_by_its_date_and_by_its_count(sandbox, api, shop):
    sandbox.clock(START)
    dated, counted = coupon(api, redeem_by=START + DAY), coupon(api, max_redemptions=1)
    shop.subscription(1, discounts=[{"coupon": counted.id}])
    assert api.coupons.retrieve(counted.id).times_redeemed == 1
    sandbox.clock(START + DAY)
    for made in (dated, counted):
        assert api.coupons.retrieve(made.id).valid is False
        with pytest.raises(stripe.InvalidRequestError) as caught:
            shop.subscription(1, discounts=[{"coupon": made.id}])
        assert caught.value.code == "coupon_expired"


def test_a_promotion_code_is_found_in_any_case_and_asks_for_its_minimum(api, shop):
    made = coupon(api)
    limits = {"minimum_amount": 5_000, "minimum_amount_currency": "usd"}
    promotion = {"type": "coupon", "coupon": made.id}
    code = api.promotion_codes.create({"promotion": promotion, "code": "Spring26", "restrictions": limits})
    assert api.promotion_codes.list({"code": "SPRING26"}).data[0].id == code.id
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        api.promotion_codes.create({"promotion": promotion, "code": "sPRING26"})
    with pytest.raises(stripe.InvalidRequestError, match="minimum"):
        shop.subscription(1, discounts=[{"promotion_code": code.id}])
    subscription = shop.subscription(2, discounts=[{"promotion_code": code.id}], expand=["discounts"])
    assert subscription.discounts[0].promotion_code == code.id
    assert api.promotion_codes.retrieve(code.id).times_redeemed == 1
    api.promotion_codes.update(code.id, {"active": "false"})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        shop.subscription(2, discounts=[{"promotion_code": code.id}])


def test_a_discount_of_an_invoice_is_on_that_invoice_only(api, shop):
    customer = shop.customer()
    api.invoice_items.create({"customer": customer.id, "amount": 999, "currency": "usd"})
    params = {"customer": customer.id, "pending_invoice_items_behavior": "include"}
    invoice = api.invoices.create({**params, "discounts": [{"coupon": coupon(api, percent_off=50).id}]})
    assert (invoice.subtotal, invoice.total) == (999, 499)
    assert api.invoices.update(invoice.id, {"discounts": ""}).total == 999


def test_an_amount_in_another_currency_is_refused(api, shop):
    off = api.coupons.create({"amount_off": 500, "currency": "eur", "duration": "once"})
    with pytest.raises(stripe.InvalidRequestError, match="eur"):
        shop.subscription(1, discounts=[{"coupon": off.id}])
    options = {"usd": {"amount_off": 600}}
    both = api.coupons.create({"amount_off": 500, "currency": "eur", "currency_options": options})
    assert shop.subscription(1, discounts=[{"coupon": both.id}]).latest_invoice.total == 1_900


def test_a_customers_discount_reduces_what_has_none_of_its_own(sandbox, api, shop):
    customer = shop.customer()
    sandbox.tell("/discounts", customer=customer.id, coupon=coupon(api, percent_off=10).id)
    assert api.customers.retrieve(customer.id).discount.source.type == "coupon"
    assert shop.subscription(4, customer=customer).latest_invoice.total == 9_000
    own = [{"coupon": coupon(api, percent_off=50).id}]
    assert shop.subscription(4, customer=customer, discounts=own).latest_invoice.total == 5_000
    gone = api.customers.delete_discount(customer.id)
    assert (gone.deleted, api.customers.retrieve(customer.id).discount) == (True, None)
    told = [event.type for event in api.events.list({"types": ["customer.discount.created"]}).data]
    assert len(told) == 2


def test_a_preview_shows_the_discount_that_it_would_redeem(api, shop):
    coupon = api.coupons.create({"percent_off": 20, "duration": "forever"})
    subscription = shop.subscription(price=shop.price(1000))
    expand = ["discounts.source.coupon", "total_discount_amounts.discount"]
    for of in ({"subscription": subscription.id}, {"customer": subscription.customer}):
        preview = api.invoices.create_preview({**of, "discounts": [{"coupon": coupon.id}], "expand": expand})
        (shown,) = preview.discounts
        assert (shown.object, shown.source.coupon.percent_off) == ("discount", 20)
        assert preview.total_discount_amounts[0].discount.id == shown.id
    assert api.coupons.retrieve(coupon.id).times_redeemed == 0
