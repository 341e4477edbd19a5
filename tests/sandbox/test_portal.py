"""The billing portal: what it lets customers do, and the links that open it."""

import httpx
import pytest
import stripe


def test_a_session_without_a_configuration_uses_the_default(api, shop):
    customer = shop.customer()
    session = api.billing_portal.sessions.create(
        {"customer": customer.id, "return_url": "https://shop.test/", "expand": ["configuration"]}
    )
    assert (session.configuration.is_default, session.flow) == (True, None)
    text = httpx.get(session.url).text
    assert "Ada" in text
    assert 'href="https://shop.test/"' in text
    again = api.billing_portal.sessions.create({"customer": customer.id})
    assert again.configuration == session.configuration.id
    assert again.id != session.id


def test_a_configuration_is_made_changed_and_put_out_of_use(api, shop):
    features = {"invoice_history": {"enabled": True}}
    made = api.billing_portal.configurations.create(
        {"features": features, "default_return_url": "https://shop.test/back"}
    )
    assert (made.features.invoice_history.enabled, made.features.subscription_cancel.enabled) == (True, False)
    cancel = {"subscription_cancel": {"enabled": True, "mode": "immediately"}}
    changed = api.billing_portal.configurations.update(
        made.id, {"features": cancel, "business_profile": {"headline": "Hello"}}
    )
    assert changed.features.subscription_cancel.mode == "immediately"
    assert changed.features.invoice_history.enabled is True
    customer = shop.customer().id
    session = api.billing_portal.sessions.create({"customer": customer, "configuration": made.id})
    assert session.return_url == "https://shop.test/back"
    api.billing_portal.configurations.update(made.id, {"active": False})
    assert [each.id for each in api.billing_portal.configurations.list({"active": True}).data] == []
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        api.billing_portal.sessions.create({"customer": customer, "configuration": made.id})


def test_a_session_can_be_opened_for_one_thing(api, shop):
    subscription = shop.subscription()
    flow = {"type": "subscription_cancel", "subscription_cancel": {"subscription": subscription.id}}
    session = api.billing_portal.sessions.create({"customer": subscription.customer, "flow_data": flow})
    assert session.flow.subscription_cancel.subscription == subscription.id
    assert session.flow.after_completion.type == "portal_homepage"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.billing_portal.sessions.create({"customer": shop.customer().id, "flow_data": flow})
    assert caught.value.param == "flow_data[subscription_cancel][subscription]"
