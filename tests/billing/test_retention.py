"""Bodies of events go after a time, and what is personal of one customer goes for ever; the ledger says so itself."""

from __future__ import annotations

import datetime
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils import timezone
from djstripe.models import Charge, Customer, Dispute, Invoice, PaymentMethod

from billing import mirror, retention
from billing.customer_details import change_details, erase_details, retell
from billing.inbox import request_sync
from billing.models import EventPayload, SubscriptionEvent
from billing.sync import sync_customer
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import OrganizationFactory, StaffFactory, SubscriptionEventFactory
from tests.operating import grow_older
from tests.stripe_world import World, make_customer, make_organization, read

pytestmark = pytest.mark.django_db(transaction=True)

SECRETS = ("Northwind", "billing@northwind.example")


def with_body(**columns: object) -> SubscriptionEvent:
    event: SubscriptionEvent = SubscriptionEventFactory(**columns)
    EventPayload.objects.create(event=event, body=json.dumps({"name": "Northwind Labs"}))
    return event


def run(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def test_old_bodies_go_the_lines_stay_and_the_ledger_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    old = [with_body(amount=500, currency="usd") for _ in range(5)]
    grow_older(datetime.timedelta(days=401).total_seconds())
    new = with_body()

    assert run("purge_payloads") == "5 bodies were deleted.\n"
    assert run("purge_payloads") == "0 bodies were deleted.\n"

    assert [payload.event_id for payload in EventPayload.objects.all()] == [new.pk]
    assert SubscriptionEvent.objects.filter(pk__in=[event.pk for event in old], amount=500).count() == 5
    told = SubscriptionEvent.objects.filter(type="payloads.purged").order_by("id")
    assert [line.after["n"] for line in told if line.after] == [2, 2, 1]
    assert told[0].source == "system"


def test_nobody_else_may_delete_a_body_or_change_a_label() -> None:
    event = with_body()
    for change in (
        lambda: EventPayload.objects.all().delete(),
        lambda: SubscriptionEvent.objects.filter(pk=event.pk).update(organization_label="Somebody else"),
    ):
        with pytest.raises(IntegrityError, match="is refused"), transaction.atomic():
            change()


def test_what_was_permitted_for_a_purge_is_forbidden_right_after_it() -> None:
    event, other = with_body(), with_body()
    with transaction.atomic():
        retention._delete_payloads([event.pk])
        with pytest.raises(IntegrityError, match="is refused"), transaction.atomic():
            EventPayload.objects.filter(event=other).delete()


def test_former_details_stay_until_the_customer_is_erased() -> None:
    organization = OrganizationFactory()
    organization.name = "Northwind"
    change_details(organization, StaffFactory())
    with pytest.raises(IntegrityError, match="is refused"), transaction.atomic():
        erase_details(organization)


def test_bodies_are_kept_for_a_month_at_least() -> None:
    with pytest.raises(CommandError, match="30 days"):
        run("purge_payloads", "--older-than", "3")


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    organization = make_organization(world, name="Northwind Labs", billing_email="billing@northwind.example")
    with_body(organization=organization, amount=500, currency="usd")
    return organization


def documents(customer_id: str) -> str:
    rows = [
        *Customer.objects.filter(id=customer_id).values_list("stripe_data", flat=True),
        *(
            data
            for model in (PaymentMethod, Charge, Invoice)
            for data in model.objects.filter(customer_id=customer_id).values_list("stripe_data", flat=True)
        ),
    ]
    return json.dumps(rows)


def delete_at_stripe(sandbox: Sandbox, world: World) -> None:
    sandbox.client.v1.customers.delete(world.customer)
    request_sync(world.customer, [world.customer])
    sync_customer(world.customer)


def test_a_customer_that_stripe_still_has_is_not_erased(organization: Organization) -> None:
    with pytest.raises(CommandError, match="delete the customer at Stripe first"):
        run("erase_personal_data", organization.slug, "--yes")
    assert EventPayload.objects.exists()


def test_what_is_personal_of_one_customer_goes_and_what_happened_stays(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    other = with_body(organization=OrganizationFactory(name="Tamarind"))
    organization.name = "Northwind"
    line = change_details(organization, StaffFactory())
    assert line is not None
    assert any(secret in documents(world.customer) for secret in SECRETS)
    delete_at_stripe(sandbox, world)

    said = run("erase_personal_data", organization.slug, "--yes")

    assert f"“Erased customer {organization.pk}”" in said
    organization.refresh_from_db()
    assert (organization.name, organization.billing_email) == (f"Erased customer {organization.pk}", "")
    labels = SubscriptionEvent.objects.filter(organization=organization)
    assert set(labels.values_list("organization_label", flat=True)) == {organization.name}
    assert labels.filter(amount=500).exists()
    assert not any(secret in documents(world.customer) for secret in SECRETS)
    line.refresh_from_db()
    assert (line.before, line.after, line.message) == ({}, {}, "Changed details that were erased since.")
    assert retell(line).done == "changed details that were erased since"
    assert [payload.event_id for payload in EventPayload.objects.all()] == [other.pk]
    told = SubscriptionEvent.objects.get(type="personal_data.erased")
    assert told.after is not None
    assert told.after["payloads"] == 1
    assert [charge["amount"] for charge in mirror.charges_of(world.customer)] == [8 * 2900]
    assert (mirror.customer(world.customer) or {})["deleted"] is True


def test_what_stripe_tells_of_an_erased_customer_later_does_not_bring_it_back(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    delete_at_stripe(sandbox, world)
    retention.erase_personal_data(organization.pk)

    read(world)
    late = with_body(organization=organization)
    assert retention.purge_payloads(timezone.now() - datetime.timedelta(days=400)) == 1

    assert not any(secret in documents(world.customer) for secret in SECRETS)
    assert not EventPayload.objects.filter(event=late).exists()


def test_what_was_shown_to_the_bank_goes_and_the_dispute_stays(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    [charge] = mirror.charges_of(world.customer)
    made = sandbox.control("POST", "disputes", {"charge": charge["id"], "amount": 700})["id"]
    evidence: Any = {
        "customer_name": "Northwind Labs",
        "customer_email_address": "billing@northwind.example",
        "uncategorized_text": "letters",
    }
    sandbox.client.v1.disputes.update(made, {"evidence": evidence})
    request_sync(world.customer, [charge["id"], made])
    sync_customer(world.customer)
    assert any(secret in json.dumps(mirror.disputes_of(world.customer)) for secret in SECRETS)
    delete_at_stripe(sandbox, world)

    retention.erase_personal_data(organization.pk)

    def holds_nothing() -> None:
        [dispute] = mirror.disputes_of(world.customer)
        assert (dispute["evidence"], dispute["amount"], dispute["reason"]) == ({}, 700, "fraudulent")
        assert Dispute.objects.get(id=made).evidence == {}

    holds_nothing()
    # Told again, alone: whose it is, only its charge says.
    request_sync(world.customer, [made])
    sync_customer(world.customer)
    holds_nothing()
