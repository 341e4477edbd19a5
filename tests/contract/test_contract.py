"""The contract's own judgement: it has to see what is wrong."""

import pytest

from billing.sandbox.params import list_of, required, text, text_of
from billing.sandbox.routing import Endpoint
from tests.contract import application
from tests.contract.checking import undescribed
from tests.contract.description import JSON, VERSION, Description, translated
from tests.contract.live import differences, refusal
from tests.contract.stage import Step

CUSTOMER = {
    "type": "object",
    "required": ["id", "object"],
    "properties": {
        "id": {"type": "string"},
        "object": {"type": "string", "enum": ["customer"]},
        "balance": {"type": "integer"},
        "name": {"type": "string", "nullable": True},
        "coupon": {"nullable": True, "anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/coupon"}]},
    },
}
COUPON = {"type": "object", "properties": {"id": {"type": "string"}, "percent_off": {"type": "number"}}}
ABSENT = object()
PARAMS = {
    "type": "object",
    "properties": {
        "balance": {"type": "integer"},
        "name": {"type": "string", "maxLength": 256},
        "notes": {"type": "array", "items": {"type": "string", "maxLength": 40}},
        "enabled_events": {"items": {"enum": ["customer.updated"]}},
    },
}


@pytest.fixture(scope="module")
def description() -> Description:
    """A very small Stripe."""
    answer = {"content": {JSON: {"schema": {"$ref": "#/components/schemas/customer"}}}}
    form = {"content": {"application/x-www-form-urlencoded": {"schema": PARAMS}}}
    path = {"post": {"requestBody": form, "responses": {"200": answer}}}
    return Description(
        translated(
            {
                "info": {"version": VERSION},
                "paths": {"/v1/customers/{customer}": path, "/v1/webhook_endpoints": path},
                "components": {"schemas": {"customer": CUSTOMER, "coupon": COUPON}},
            }
        )
    )


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"name": None, "balance": 0, "coupon": None}, None),
        ({"coupon": "half"}, None),
        ({"coupon": {"id": "half", "percent_off": 50}}, None),
        ({"coupon": {"id": 5}}, "coupon.id: 5 is not of type 'string'"),
        ({"balance": None}, "balance: None is not of type 'integer'"),
        ({"id": ABSENT}, ": 'id' is a required property"),
        ({"name": ABSENT}, ": 'name' is a required property"),
        ({"colour": "red"}, ": Additional properties are not allowed ('colour' was unexpected)"),
        ({"object": "cus"}, "object: 'cus' is not one of ['customer']"),
    ],
)
def test_a_reply_is_held_to_types_nulls_expansions_and_names(description, answer, problem):
    operation = description.operation("POST", "/v1/customers/{}")
    answer = {"id": "cus_1", "object": "customer", "name": None, "coupon": None, **answer}
    sent = {name: value for name, value in answer.items() if value is not ABSENT}
    found = description.problems_of_reply(operation, 200, sent)
    assert found == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("params", "valid"), [({"balance": "-5"}, True), ({"balance": "much"}, False), ({"colour": "red"}, False)]
)
def test_a_request_is_held_to_what_a_form_can_say(description, params, valid):
    operation = description.operation("POST", "/v1/customers/{}")
    assert (description.problems_of_request(operation, params) == []) is valid


@pytest.mark.parametrize(
    ("shape", "problems"),
    [
        ({"name": text_of(256), "notes": list_of(text_of(40))}, []),
        ({"name": required(text)}, ["name may have 256 characters, not 5000"]),
        ({"notes": list_of(text_of(41))}, ["notes may have 40 characters, not 41"]),
        ({"colour": text}, ["Stripe does not take colour"]),
    ],
)
def test_what_an_endpoint_takes_is_held_to_names_and_lengths(description, shape, problems):
    operation = description.operation("POST", "/v1/customers/{}")
    declared = Endpoint("POST", "/v1/customers/{}", shape, lambda call: {})
    assert list(undescribed(declared, operation)) == problems


def test_the_paths_that_the_application_names_are_found_with_their_methods():
    found = {(method, path) for method, path, _ in application.endpoints()}
    assert ("POST", "/v1/subscriptions/{}") in found
    assert ("GET", "/v1/events") in found
    assert ("POST", "/v1/invoices/create_preview") in found


@pytest.mark.parametrize("key", ["", "sk_live_" + "x" * 24, "pk_test_" + "x" * 24])
def test_the_live_contract_wants_a_secret_key_in_test_mode(key):
    assert refusal(key)


def test_a_difference_from_stripe_is_told_once_for_what_it_is():
    theirs = [Step("customer", 200, {"id": "cus_aaaaaaaaaa", "balance": 0, "phone": None, "created": 5})]
    ours = [Step("customer", 200, {"id": "cus_bbbbbbbbbb", "balance": 1, "created": "5", "fax": None})]
    assert list(differences(theirs, theirs)) == []
    assert [each.partition(": ")[2] for each in differences(theirs, ours)] == [
        "balance is 0 at Stripe, 1 here",
        "created is 5 at Stripe, '5' here",
        "fax is not at Stripe",
        "phone is missing here",
    ]
