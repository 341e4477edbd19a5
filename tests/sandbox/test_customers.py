"""Customers: their balance, their end, and the clocks they live on."""

import pytest
import stripe

START = 1_767_225_600
DAY = 86_400


def test_a_balance_is_applied_to_the_next_invoice_and_given_back_when_that_is_voided(api, shop):
    customer = shop.customer()
    moved = api.customers.balance_transactions.create(
        customer.id, {"amount": -1500, "currency": "usd", "description": "Goodwill"}
    )
    draft = api.invoices.create({"customer": customer.id, "currency": "usd"})
    api.invoice_items.create({"customer": customer.id, "invoice": draft.id, "amount": 2000})
    final = api.invoices.finalize_invoice(draft.id)
    assert (final.starting_balance, final.ending_balance, final.amount_due) == (-1500, 0, 500)
    api.invoices.void_invoice(draft.id)
    assert api.customers.retrieve(customer.id).balance == -1500
    ledger = api.customers.balance_transactions.list(customer.id).data
    assert [(each.type, each.amount) for each in ledger] == [
        ("unapplied_from_invoice", -1500),
        ("applied_to_invoice", 1500),
        ("adjustment", -1500),
    ]
    changed = api.customers.balance_transactions.update(customer.id, moved.id, {"description": "Sorry"})
    assert changed.description == "Sorry"
    assert api.customers.balance_transactions.retrieve(customer.id, moved.id).description == "Sorry"


def test_deleting_a_customer_lets_cards_go_and_chases_no_invoice(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription()
    [method] = api.payment_methods.list({"customer": subscription.customer}).data
    shop.give_card(subscription.customer, "pm_card_chargeCustomerFail")
    sandbox.tell("/clock", advance=32 * DAY)
    owed = api.subscriptions.retrieve(subscription.id).latest_invoice
    api.customers.delete(subscription.customer)
    assert api.payment_methods.retrieve(method.id).customer is None
    left = api.invoices.retrieve(owed)
    assert (left.status, left.auto_advance, left.next_payment_attempt) == ("open", False, None)
    sandbox.tell("/clock", advance=30 * DAY)
    assert api.invoices.void_invoice(owed).status == "void"


def test_customers_are_found_by_email_exactly_as_written(api, shop):
    shop.customer(card=None, email="Ada@example.com")
    lower = shop.customer(card=None, email="ada@example.com")
    assert [each.id for each in api.customers.list({"email": "ada@example.com"}).data] == [lower.id]


def test_a_clock_takes_three_customers_and_takes_them_along_when_it_goes(api, shop):
    clock = api.test_helpers.test_clocks.create({"frozen_time": START})
    made = [shop.customer(card=None, test_clock=clock.id) for _ in range(3)]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.customer(card=None, test_clock=clock.id)
    assert caught.value.param == "test_clock"
    assert api.customers.list().data == []
    assert len(api.customers.list({"test_clock": clock.id}).data) == 3
    api.test_helpers.test_clocks.delete(clock.id)
    assert all(api.customers.retrieve(each.id).deleted for each in made)


def test_a_clock_is_deleted_after_thirty_days(sandbox, api):
    sandbox.clock(START)
    clock = api.test_helpers.test_clocks.create({"frozen_time": START})
    assert clock.deletes_after == START + 30 * DAY
    sandbox.tell("/clock", advance=30 * DAY)
    with pytest.raises(stripe.InvalidRequestError, match="No such test clock"):
        api.test_helpers.test_clocks.retrieve(clock.id)


def test_a_renewal_is_announced_a_week_ahead(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    end = subscription["items"].data[0].current_period_end
    api.subscriptions.update(
        subscription.id, {"items": [{"id": subscription["items"].data[0].id, "quantity": 9}]}
    )
    sandbox.clock(end - 7 * DAY - 1)
    assert api.events.list({"type": "invoice.upcoming"}).data == []
    sandbox.clock(end - 7 * DAY)
    [event] = api.events.list({"type": "invoice.upcoming"}).data
    assert (event.data.object.subtotal, event.data.object.billing_reason) == (9 * 2500 + 2500, "upcoming")
    assert event["request"]["id"] is None
    sandbox.clock(end + 3601)
    [renewal] = api.invoices.list({"subscription": subscription.id, "created": {"gte": end}}).data
    assert renewal.total == event.data.object.total


def test_what_only_older_integrations_ask_for_is_shown_when_expanded(api, shop):
    subscription = shop.subscription()
    customer = api.customers.retrieve(subscription.customer, {"expand": ["sources", "default_source"]})
    assert (customer.sources.data, customer.default_source) == ([], None)
    assert "sources" not in api.customers.retrieve(subscription.customer)
    price = subscription["items"].data[0].price
    options = api.prices.retrieve(price.id, {"expand": ["currency_options"]}).currency_options
    assert options[price.currency].unit_amount == price.unit_amount
