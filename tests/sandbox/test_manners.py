"""How the API speaks: errors, lists, expansion, idempotency."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import stripe


def refused(call, *arguments):
    with pytest.raises(stripe.StripeError) as caught:
        call(*arguments)
    return caught.value


def test_an_unknown_id_in_the_url_is_a_404_with_everything_stripe_says(api):
    error = refused(api.customers.retrieve, "cus_nobody")
    assert (error.http_status, error.code, error.param) == (404, "resource_missing", "id")
    assert error.user_message == "No such customer: 'cus_nobody'"
    assert error.error.type == "invalid_request_error"
    assert error.error.doc_url.endswith("/error-codes/resource-missing")
    assert error.error.request_log_url.endswith(error.request_id)


def test_an_unknown_id_in_a_parameter_is_a_400_that_names_it(api, shop):
    customer = shop.customer()
    params = {"customer": customer.id, "items": [{"price": "price_none"}]}
    error = refused(api.subscriptions.create, params)
    assert (error.http_status, error.code, error.param) == (400, "resource_missing", "items[0][price]")


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"invoice_settings": {"colour": "red"}}, "parameter_unknown", "invoice_settings[colour]"),
        ({"balance": "much"}, "parameter_invalid_integer", "balance"),
        ({"balance": "1.5"}, "parameter_invalid_integer", "balance"),
        ({"tax_exempt": "maybe"}, None, "tax_exempt"),
        ({"metadata": {"k" * 41: "v"}}, None, "metadata"),
    ],
)
def test_parameters_are_checked_by_name_and_type(api, params, code, param):
    error = refused(api.customers.create, params)
    assert (error.http_status, error.code, error.param) == (400, code, param)


def test_a_text_that_is_too_long_is_refused_with_its_ends(api, shop):
    name = f"Lighthouse{' and' * 80} Northwind"
    error = refused(api.customers.create, {"name": name})
    assert (error.http_status, error.param) == (400, "name")
    assert error.user_message == "Invalid string: Lighthouse... Northwind; must be at most 256 characters"
    assert api.customers.create({"name": name[:256]}).name == name[:256]
    settings = {"default_settings": {"description": "d" * 501}}
    error = refused(api.subscription_schedules.create, {"customer": shop.customer().id, **settings})
    assert error.param == "default_settings[description]"


def test_a_missing_parameter_is_named(api):
    error = refused(api.prices.create, {"unit_amount": 100})
    assert (error.code, error.param) == ("parameter_missing", "currency")
    assert error.user_message == "Missing required param: currency."


@pytest.mark.parametrize("quantity", [-1, "1.5", "ten", 10**20])
def test_a_quantity_is_a_whole_number_from_zero(api, shop, quantity):
    subscription = shop.subscription()
    items = [{"id": subscription["items"].data[0].id, "quantity": quantity}]
    error = refused(api.subscriptions.update, subscription.id, {"items": items})
    assert (error.http_status, error.param) == (400, "items[0][quantity]")


@pytest.mark.parametrize("key", ["sk_live_" + "x" * 24, "nonsense", "pk_test_" + "x" * 24])
def test_only_secret_test_keys_are_let_in(sandbox, key):
    error = refused(sandbox.client(key=key).v1.customers.list)
    assert isinstance(error, stripe.AuthenticationError)
    assert error.user_message.startswith("Invalid API Key provided: ")


def test_an_unknown_url_is_a_404(sandbox):
    answer = httpx.get(f"{sandbox.base}/v1/unicorns", headers={"Authorization": "Bearer sk_test_x"})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith("Unrecognized request URL (GET: /v1/unicorns).")
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["stripe-version"] == "2026-05-27.dahlia"


def test_pages_are_newest_first_and_turn_in_both_directions(api):
    made = [api.customers.create({"name": str(number)}).id for number in range(25)]
    newest = list(reversed(made))
    first = api.customers.list()
    assert [each.id for each in first.data] == newest[:10]
    assert (first.has_more, first.url) == (True, "/v1/customers")
    second = api.customers.list({"limit": 15, "starting_after": newest[9]})
    assert [each.id for each in second.data] == newest[10:]
    assert second.has_more is False
    back = api.customers.list({"limit": 3, "ending_before": newest[10]})
    assert [each.id for each in back.data] == newest[7:10]
    assert back.has_more is True
    walked = api.customers.list({"limit": 7}).auto_paging_iter()
    assert [each.id for each in walked] == newest


@pytest.mark.parametrize("limit", [0, 101])
def test_a_page_has_one_to_a_hundred_objects(api, limit):
    assert refused(api.customers.list, {"limit": limit}).param == "limit"


def test_lists_filter_by_time_email_and_status(sandbox, api, shop):
    sandbox.clock(1_767_225_600)
    old = api.customers.create({"email": "old@example.com"})
    sandbox.tell("/clock", advance=100)
    new = api.customers.create({"email": "new@example.com"})

    def found(**params):
        return [each.id for each in api.customers.list(params).data]

    assert found(created={"gte": new.created}) == [new.id]
    assert found(created={"lt": new.created}) == [old.id]
    assert found(created=old.created) == [old.id]
    assert found(email="old@example.com") == [old.id]
    subscription = shop.subscription()
    api.subscriptions.cancel(subscription.id)
    assert api.subscriptions.list().data == []
    for status in ("canceled", "ended", "all"):
        assert [each.id for each in api.subscriptions.list({"status": status}).data] == [subscription.id]
    price = subscription["items"].data[0].price.id
    assert len(api.subscriptions.list({"status": "all", "price": price}).data) == 1
    assert api.subscriptions.list({"status": "all", "price": shop.price().id}).data == []


def test_expansion_reaches_four_levels_and_into_lists(api, shop):
    subscription = shop.subscription()
    deep = api.subscriptions.retrieve(
        subscription.id,
        {"expand": ["latest_invoice.payments.data.payment", "customer", "default_payment_method"]},
    )
    assert deep.customer.email == "ada@example.com"
    assert deep.latest_invoice.payments.data[0].status == "paid"
    listed = api.subscriptions.list({"expand": ["data.latest_invoice.customer"]}).data[0]
    assert listed.latest_invoice.customer.name == "Ada"
    product = api.subscriptions.retrieve(subscription.id, {"expand": ["items.data.price.product"]})
    assert product["items"].data[0].price.product.name == "Team"
    plain = api.subscriptions.retrieve(subscription.id)
    assert isinstance(plain.customer, str)


@pytest.mark.parametrize("path", ["status", "nonsense", "customer.a.b.c.d"])
def test_what_cannot_be_expanded_is_refused(api, shop, path):
    subscription = shop.subscription()
    assert refused(api.subscriptions.retrieve, subscription.id, {"expand": [path]}).http_status == 400


def test_metadata_merges_and_unsets(api):
    customer = api.customers.create({"metadata": {"a": "1", "b": "2"}})
    changed = api.customers.update(customer.id, {"metadata": {"b": "", "c": "3"}})
    assert changed.metadata.to_dict() == {"a": "1", "c": "3"}
    assert api.customers.update(customer.id, {"metadata": ""}).metadata.to_dict() == {}


def test_the_same_key_acts_once_and_replays_its_answer(api):
    first = api.customers.create({"name": "Ada"}, {"idempotency_key": "k1"})
    again = api.customers.create({"name": "Ada"}, {"idempotency_key": "k1"})
    assert again.id == first.id
    assert len(api.customers.list().data) == 1
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert again.last_response.headers["Idempotency-Key"] == "k1"


def test_a_key_used_for_something_else_is_refused(api):
    api.customers.create({"name": "Ada"}, {"idempotency_key": "k1"})
    other = refused(api.customers.create, {"name": "Bob"}, {"idempotency_key": "k1"})
    assert isinstance(other, stripe.IdempotencyError)
    assert "Try using a key other than 'k1'" in other.user_message
    elsewhere = refused(api.products.create, {"name": "Ada"}, {"idempotency_key": "k1"})
    assert isinstance(elsewhere, stripe.IdempotencyError)


def test_a_refused_parameter_does_not_use_up_the_key(api):
    refused(api.customers.create, {"colour": "red"}, {"idempotency_key": "k1"})
    assert api.customers.create({"name": "Ada"}, {"idempotency_key": "k1"}).name == "Ada"


def test_a_key_is_forgotten_after_a_day_and_then_acts_again(sandbox, api):
    sandbox.clock(1_767_225_600)
    first = api.customers.create({"name": "Ada"}, {"idempotency_key": "k1"})
    sandbox.tell("/clock", advance=23 * 3600)
    assert api.customers.create({"name": "Ada"}, {"idempotency_key": "k1"}).id == first.id
    sandbox.tell("/clock", advance=3600)
    assert api.customers.create({"name": "Ada"}, {"idempotency_key": "k1"}).id != first.id


def test_sixteen_at_once_with_one_key_have_one_effect(sandbox, api):
    sandbox.tell("/faults", kind="latency", seconds=0.3, times=-1, path="/v1/customers", method="POST")

    def create(_):
        try:
            return sandbox.client().v1.customers.create({"name": "Ada"}, {"idempotency_key": "k1"}).id
        except stripe.StripeError as error:
            return error.http_status, error.error.code

    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(create, range(16)))
    assert len(answers - {(409, "idempotency_key_in_use")}) == 1
    assert len(api.customers.list().data) == 1


def test_a_page_begins_at_one_cursor(api):
    ids = [api.customers.create({}).id for _ in range(3)]
    error = refused(api.customers.list, {"starting_after": ids[2], "ending_before": ids[0]})
    assert (error.http_status, error.error.type) == (400, "invalid_request_error")
    assert refused(api.customers.list, {"starting_after": "cus_nobody"}).param == "starting_after"


def test_lists_leave_out_what_lives_on_a_test_clock(api, shop):
    clock = api.test_helpers.test_clocks.create({"frozen_time": 1_767_225_600})
    timeless = shop.subscription()
    clocked = shop.subscription(customer=shop.customer(test_clock=clock.id))
    for resource in (api.subscriptions, api.invoices, api.charges, api.payment_intents):
        assert {each.customer for each in resource.list().data} == {timeless.customer}
        assert {each.customer for each in resource.list({"customer": clocked.customer}).data} == {
            clocked.customer
        }
    assert [each.id for each in api.customers.list().data] == [timeless.customer]
    assert [each.id for each in api.customers.list({"test_clock": clock.id}).data] == [clocked.customer]


@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ({f"k{number}": "v" for number in range(51)}, "metadata"),
        ({"k" * 41: "v"}, "metadata"),
        ({"k": "v" * 501}, "metadata[k]"),
    ],
)
def test_metadata_has_fifty_keys_of_forty_and_values_of_five_hundred(api, metadata, param):
    assert refused(api.customers.create, {"metadata": metadata}).param == param


def test_metadata_is_counted_after_it_is_merged(api):
    customer = api.customers.create({"metadata": {f"k{number}": "v" for number in range(50)}})
    assert refused(api.customers.update, customer.id, {"metadata": {"one": "more"}}).param == "metadata"
    swapped = api.customers.update(customer.id, {"metadata": {"k0": "", "one": "more"}})
    assert len(swapped.metadata.to_dict()) == 50


def test_a_replay_names_the_request_that_was_answered_first(sandbox, api):
    sandbox.tell("/faults", kind="error_500", path="/v1/customers")
    first = refused(api.customers.create, {}, {"idempotency_key": "k1"})
    again = refused(api.customers.create, {}, {"idempotency_key": "k1"})
    assert first.http_status == again.http_status == 500
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.request_id != again.request_id
    assert again.json_body == first.json_body
    assert "Idempotent-Replayed" not in first.headers


def test_sixteen_seats_changes_at_once_with_one_key_are_charged_once(sandbox, api, shop):
    subscription = shop.subscription()
    item = subscription["items"].data[0].id
    change = {"items": [{"id": item, "quantity": 9}], "proration_behavior": "always_invoice"}
    clients = [sandbox.client().v1 for _ in range(16)]

    def update(client):
        try:
            return client.subscriptions.update(
                subscription.id, change, {"idempotency_key": "k1"}
            ).latest_invoice
        except stripe.StripeError as error:
            return error.error.code

    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(update, clients))
    assert len(answers - {"idempotency_key_in_use"}) == 1
    assert len(api.invoices.list({"subscription": subscription.id}).data) == 2
    # The sandbox works through them in order; each came with a request of its own.
    assert len([call for call in sandbox.ask("/log")["calls"] if call["key"] == "k1"]) == 16


def test_events_of_one_second_keep_their_order_and_know_their_request(sandbox, api):
    sandbox.clock(1_767_225_600)
    customer = api.customers.create({"name": "Ada"})
    for number in range(3):
        api.customers.update(customer.id, {"name": f"Ada {number}"}, {"idempotency_key": f"k{number}"})
    events = api.events.list({"type": "customer.updated"}).data
    assert {event.created for event in events} == {1_767_225_600}
    assert [event["request"].idempotency_key for event in events] == ["k2", "k1", "k0"]
    assert [event.data.previous_attributes.to_dict() for event in events] == [
        {"name": "Ada 1"},
        {"name": "Ada 0"},
        {"name": "Ada"},
    ]
    assert events[0].data.object.name == "Ada 2"
    assert len({event["request"].id for event in events}) == 3


def test_events_are_found_by_type_and_by_whether_they_were_delivered(api):
    api.webhook_endpoints.create({"url": "http://127.0.0.1:1/nobody", "enabled_events": ["product.created"]})
    api.products.create({"name": "Team"})
    api.customers.create({})

    def types(**params):
        return [event.type for event in api.events.list(params).data]

    assert types(types=["product.created", "customer.created"]) == ["customer.created", "product.created"]
    assert types(delivery_success=False) == ["product.created"]
    assert types(delivery_success=True) == ["customer.created"]
    assert api.events.list({"type": "product.*"}).data[0].pending_webhooks == 1
    many = [f"type.{number}" for number in range(21)]
    assert refused(api.events.list, {"types": many}).param == "types"
