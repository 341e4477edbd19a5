"""The life of a refund after it was accepted, and what disputes allow of it."""

import pytest
import stripe

from tests.sandbox.conftest import charge_of

START = 1_767_225_600
DAY = 86_400


@pytest.fixture
def charge(sandbox, api, shop):
    sandbox.clock(START)
    return charge_of(api, shop.subscription().latest_invoice.id)


def kinds(api, *types):
    return [event.type for event in reversed(api.events.list({"types": list(types), "limit": 100}).data)]


def test_a_refund_fails_long_after_it_succeeded_and_the_money_is_back(sandbox, api, charge):
    refund = api.refunds.create({"charge": charge.id, "amount": 5000})
    other = api.refunds.create({"charge": charge.id, "amount": 5000})
    sandbox.tell("/clock", advance=9 * DAY)
    sandbox.tell("/refunds", refund=refund.id, status="failed", failure_reason="lost_or_stolen_card")
    failed = api.refunds.retrieve(refund.id, {"expand": ["failure_balance_transaction"]})
    assert (failed.status, failed.failure_reason) == ("failed", "lost_or_stolen_card")
    back = failed.failure_balance_transaction
    assert (back.amount, back.type, back.source) == (5000, "refund_failure", refund.id)
    after = api.charges.retrieve(charge.id)
    assert (after.amount_refunded, after.refunded) == (5000, False)
    told = kinds(api, "refund.created", "refund.failed", "refund.updated", "charge.refund.updated")
    assert told.count("refund.failed") == 1
    assert told[-3:] == ["refund.updated", "charge.refund.updated", "refund.failed"]
    assert api.refunds.create({"charge": charge.id}).amount == 15_000
    assert [each.id for each in api.refunds.list({"charge": charge.id}).data][1:] == [other.id, refund.id]


def test_a_refund_may_wait_for_the_customer_and_be_cancelled(sandbox, api, charge):
    refund = api.refunds.create({"charge": charge.id})
    sandbox.tell("/refunds", refund=refund.id, status="requires_action")
    waiting = api.refunds.retrieve(refund.id)
    assert (waiting.status, waiting.next_action.type) == ("requires_action", "display_details")
    assert waiting.next_action.display_details.email_sent.email_sent_to == "ada@example.com"
    gone = api.refunds.cancel(refund.id)
    assert (gone.status, "next_action" in gone, "failure_reason" in gone) == ("canceled", False, False)
    assert api.charges.retrieve(charge.id).amount_refunded == 0
    with pytest.raises(stripe.InvalidRequestError, match="cannot be canceled"):
        api.refunds.cancel(refund.id)


def test_refunds_are_found_by_payment_intent_and_by_time(sandbox, api, charge):
    early = api.refunds.create({"payment_intent": charge.payment_intent, "amount": 1})
    sandbox.tell("/clock", advance=DAY)
    late = api.refunds.create({"payment_intent": charge.payment_intent, "amount": 2})
    found = api.refunds.list({"payment_intent": charge.payment_intent}).data
    assert [each.id for each in found] == [late.id, early.id]
    assert [each.id for each in api.refunds.list({"created": {"gt": early.created}}).data] == [late.id]


def test_an_inquiry_may_be_refunded_and_may_become_a_chargeback(sandbox, api, charge):
    inquiry = sandbox.tell("/disputes", charge=charge.id, inquiry=True)
    assert (inquiry["status"], inquiry["balance_transactions"]) == ("warning_needs_response", [])
    api.refunds.create({"charge": charge.id, "amount": 100})
    words = {"uncategorized_text": "escalate_inquiry_evidence"}
    assert api.disputes.update(inquiry["id"], {"evidence": words}).status == "warning_under_review"
    sandbox.tell("/clock", advance=DAY)
    dispute = api.disputes.retrieve(inquiry["id"])
    assert (dispute.status, dispute.payment_method_details.card.case_type) == ("needs_response", "chargeback")
    assert dispute.balance_transactions[0].fee == 1500
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        api.refunds.create({"charge": charge.id, "amount": 100})
    assert kinds(api, "charge.dispute.created", "charge.dispute.funds_withdrawn") == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
    ]


def test_evidence_may_be_kept_back_and_an_unanswered_dispute_is_lost(sandbox, api, charge):
    opened = sandbox.tell("/disputes", charge=charge.id, amount=700, reason="product_not_received")
    assert (opened["amount"], opened["reason"]) == (700, "product_not_received")
    draft = {"evidence": {"product_description": "A seat"}, "submit": False}
    staged = api.disputes.update(opened["id"], draft)
    assert (staged.status, staged.evidence_details.has_evidence) == ("needs_response", True)
    assert staged.evidence_details.submission_count == 0
    sandbox.clock(opened["evidence_details"]["due_by"])
    lost = api.disputes.retrieve(opened["id"])
    assert (lost.status, lost.evidence_details.past_due) == ("lost", True)
    assert api.disputes.list({"payment_intent": charge.payment_intent}).data[0].id == lost.id
    assert "charge.dispute.closed" in kinds(api, "charge.dispute.closed")


def test_a_balance_tells_fees_and_when_money_is_there(sandbox, api, charge):
    api.refunds.create({"charge": charge.id, "amount": 1000})
    sandbox.tell("/disputes", charge=charge.id)
    lines = api.balance_transactions.list({"limit": 100}).data
    assert [(each.type, each.amount, each.fee, each.status) for each in lines] == [
        ("adjustment", -19_000, 1500, "pending"),
        ("refund", -1000, 0, "pending"),
        ("charge", 20_000, 610, "pending"),
    ]
    sandbox.tell("/clock", advance=2 * DAY)
    assert {each.status for each in api.balance_transactions.list().data} == {"available"}
    assert [each.amount for each in api.balance_transactions.list({"source": charge.id}).data] == [20_000]
