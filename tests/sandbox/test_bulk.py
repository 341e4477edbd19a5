"""Many customers at once, and the way back to an earlier world."""

import pytest


def test_copies_of_a_customer_are_whole_customers_of_their_own(sandbox, api, shop):
    model = shop.subscription()
    loaded = sandbox.tell("/load", customers=250, like=model.customer)
    assert loaded["customers"] == 250
    subscriptions = list(
        api.subscriptions.list(
            {"limit": 100, "expand": ["data.latest_invoice", "data.customer"]}
        ).auto_paging_iter()
    )
    assert len(subscriptions) == 251
    for field in ("id", "customer"):
        assert len({str(getattr(each, field)) for each in subscriptions}) == 251
    assert len({each.latest_invoice.number for each in subscriptions}) == 251
    newest = subscriptions[0]
    assert newest.customer.email == "250.ada@example.com"
    assert newest.latest_invoice.customer == newest.customer.id
    assert newest["items"].data[0].subscription == newest.id
    assert newest["items"].data[0].price.id == model["items"].data[0].price.id
    charge = api.charges.list({"customer": newest.customer.id, "expand": ["data.payment_intent"]}).data[0]
    assert charge.payment_intent.latest_charge == charge.id
    method = newest.customer.invoice_settings.default_payment_method
    assert api.payment_methods.retrieve(method).customer == newest.customer.id
    assert [each.id for each in api.customers.list({"email": "7.ada@example.com"}).data]


def test_copies_live_on_by_themselves(sandbox, api, shop):
    model = shop.subscription()
    sandbox.tell("/load", customers=3, like=model.customer)
    one, other, *_ = api.subscriptions.list().data
    item = one["items"].data[0].id
    api.subscriptions.update(
        one.id, {"items": [{"id": item, "quantity": 20}], "proration_behavior": "always_invoice"}
    )
    assert api.subscriptions.retrieve(other.id)["items"].data[0].quantity == 8
    api.subscriptions.cancel(other.id)
    sandbox.tell("/clock", advance=32 * 86_400)
    assert api.invoices.list({"customer": one.customer}).data[0].total == 50_000
    assert len(api.invoices.list({"customer": other.customer}).data) == 1
    api.refunds.create({"charge": api.charges.list({"customer": one.customer}).data[0].id, "amount": 100})
    assert (
        api.charges.retrieve(api.charges.list({"customer": other.customer}).data[0].id).amount_refunded == 0
    )


def test_without_a_model_one_is_made(sandbox, api):
    like = sandbox.tell("/load", customers=2)["like"]
    assert api.customers.retrieve(like).email == "billing@company.example"
    assert len(api.subscriptions.list().data) == 3


@pytest.mark.parametrize(
    "body",
    [
        {"customers": 0},
        {"customers": "many"},
        {"customers": 1, "like": "cus_nobody"},
        {"customers": 1, "spread": -1},
        {},
    ],
)
def test_loading_refuses_what_it_cannot_do(sandbox, body):
    assert sandbox.control.post("/load", json=body).status_code == 400


def test_a_snapshot_brings_back_objects_time_and_keys(sandbox, api, shop):
    sandbox.clock(1_767_225_600)
    subscription = shop.subscription()
    kept = api.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    sandbox.tell("/snapshot", name="before")
    api.subscriptions.cancel(subscription.id)
    api.customers.delete(kept.id)
    sandbox.tell("/clock", advance=90 * 86_400)
    for _ in range(2):
        sandbox.tell("/restore", name="before")
        assert sandbox.ask("/clock") == {"now": 1_767_225_600, "frozen": True}
        assert api.subscriptions.retrieve(subscription.id).status == "active"
        assert api.customers.create({"name": "Ada"}, {"idempotency_key": "k"}).id == kept.id
        api.subscriptions.cancel(subscription.id)
    assert sandbox.control.post("/restore", json={"name": "other"}).status_code == 400


def test_a_snapshot_of_sixty_organizations_takes_less_than_a_second_each_way(sandbox, api, shop):
    sandbox.clock(1_767_225_600)
    sandbox.tell("/load", customers=59, like=shop.subscription().customer)
    sandbox.tell("/clock", advance=365 * 86_400)
    assert sandbox.tell("/snapshot")["seconds"] < 1
    assert sandbox.tell("/restore")["seconds"] < 1
    assert len(list(api.subscriptions.list({"limit": 100}).auto_paging_iter())) == 60


def test_copies_are_made_over_the_time_that_is_asked_for(sandbox, api, shop):
    model = shop.subscription()
    sandbox.tell("/load", customers=4, like=model.customer, spread=1_000)
    made = [each.created - model.created for each in api.subscriptions.list().data]
    assert made == [1_000, 750, 500, 250, 0]
    since = {"created": {"gte": model.created + 500, "lt": model.created + 1_000}}
    assert len(api.subscriptions.list(since).data) == 2
