"""Taking in an existing account: every customer once, whoever runs it and however often it dies."""

import io
import json
import threading
from collections import Counter
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from billing import mirror
from billing.importing import Imported, Outcome, import_organizations, read_in_full_at
from billing.inbox import request_sync
from billing.models import CustomerSync, SubscriptionEvent
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import OrganizationFactory, SubscriptionEventFactory, UnbilledOrganizationFactory
from tests.stripe_world import make_customer

pytestmark = pytest.mark.django_db(transaction=True)


def make_bare_customer(sandbox: Sandbox, name: str, **params: Any) -> str:
    """A customer that buys nothing."""
    made: Any = sandbox.client.raw_request("post", "/v1/customers", name=name, **params).data
    return str(made["id"])


def imported(*, dry_run: bool = False) -> dict[str, Imported]:
    """An import, by customer."""
    return {each.customer_id: each for each in import_organizations(dry_run=dry_run)}


def run(*arguments: str) -> tuple[int, str]:
    """The command's exit status and output."""
    out = io.StringIO()
    try:
        call_command("import_organizations", *arguments, stdout=out, stderr=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_a_customer_nobody_has_becomes_an_organization_with_all_that_stripe_knows(sandbox: Sandbox) -> None:
    world = make_customer(sandbox, seats=8)

    each = imported()[world.customer]

    assert (each.outcome, each.slug, each.problem) == (Outcome.CREATED, "northwind-labs", "")
    organization = Organization.objects.get(stripe_customer_id=world.customer)
    assert (organization.name, organization.billing_email) == ("Northwind Labs", "billing@northwind.example")
    assert (organization.seats, organization.plan, organization.subscription_status) == (8, "Team", "active")
    assert organization.created_at.timestamp() == mirror.customer(world.customer)["created"]
    event = SubscriptionEvent.objects.get(organization=organization)
    assert (event.source, event.type, event.state) == ("system", "organization.imported", "done")
    assert (event.stripe_customer_id, event.livemode) == (world.customer, False)


def test_a_second_run_makes_nothing_and_reads_nothing(sandbox: Sandbox) -> None:
    make_customer(sandbox)
    make_bare_customer(sandbox, "Contoso")
    imported()
    before = list(Organization.objects.order_by("pk").values())
    sandbox.control("DELETE", "log")

    again = imported()

    assert {each.outcome for each in again.values()} == {Outcome.KNOWN}
    assert list(Organization.objects.order_by("pk").values()) == before
    assert SubscriptionEvent.objects.filter(type="organization.imported").count() == 2
    assert [call["path"] for call in sandbox.control("GET", "log")["calls"]] == ["/v1/customers"]


def test_metadata_name_the_organization_before_its_name_does(sandbox: Sandbox) -> None:
    meant = UnbilledOrganizationFactory(name="Renamed since", slug="northwind")
    UnbilledOrganizationFactory(name="Northwind Labs", slug="another")
    customer = make_bare_customer(sandbox, "Northwind Labs", metadata={"organization": "northwind"})

    each = imported()[customer]

    assert (each.outcome, each.slug) == (Outcome.MATCHED, "northwind")
    meant.refresh_from_db()
    assert meant.stripe_customer_id == customer
    assert meant.name == "Renamed since"
    assert meant.synced_at is not None


def test_a_slug_in_the_metadata_becomes_the_new_organizations_slug(sandbox: Sandbox) -> None:
    customer = make_bare_customer(sandbox, "Østergaard Marine", metadata={"organization": "ostergaard"})

    assert imported()[customer].slug == "ostergaard"


@pytest.mark.parametrize(
    "columns", [{"name": "NORTHWIND labs"}, {"name": "Else", "billing_email": "Ap@northwind.example"}]
)
def test_an_organization_without_a_customer_is_found_by_its_exact_name_or_email(
    sandbox: Sandbox, columns: dict[str, str]
) -> None:
    organization = UnbilledOrganizationFactory(**columns)
    customer = make_bare_customer(sandbox, "Northwind Labs", email="ap@northwind.example")

    assert imported()[customer].outcome is Outcome.MATCHED

    organization.refresh_from_db()
    assert organization.stripe_customer_id == customer


def test_an_organization_that_has_a_customer_is_never_given_another(sandbox: Sandbox) -> None:
    OrganizationFactory(name="Northwind Labs", slug="northwind-labs", stripe_customer_id="cus_other")
    twin = make_bare_customer(sandbox, "Northwind Labs")
    named = make_bare_customer(sandbox, "Anything", metadata={"organization": "northwind-labs"})

    done = imported()

    assert (done[twin].outcome, done[twin].slug) == (Outcome.CREATED, "northwind-labs-2")
    assert done[named].outcome is Outcome.UNDECIDED
    assert not Organization.objects.filter(stripe_customer_id=named).exists()


def test_where_two_organizations_could_be_meant_a_person_decides(sandbox: Sandbox) -> None:
    UnbilledOrganizationFactory(name="Northwind Labs")
    UnbilledOrganizationFactory(name="Northwind Labs")
    customer = make_bare_customer(sandbox, "Northwind Labs")

    status, words = run()

    assert status == 2
    assert "Several organizations have this name" in words
    assert not Organization.objects.filter(stripe_customer_id=customer).exists()


def test_a_dry_run_foretells_the_run_and_writes_nothing(sandbox: Sandbox) -> None:
    UnbilledOrganizationFactory(name="Contoso")
    for name in ("Contoso", "Contoso", "Northwind Labs", "Northwind Labs", "日本"):
        make_bare_customer(sandbox, name)

    foretold = imported(dry_run=True)

    assert Organization.objects.count() == 1
    assert SubscriptionEvent.objects.count() == CustomerSync.objects.count() == 0
    assert imported() == foretold


def test_names_and_addresses_that_do_not_fit_are_made_to(sandbox: Sandbox) -> None:
    long = make_bare_customer(sandbox, "Lighthouse " * 23)
    odd = make_bare_customer(sandbox, "日本", email="two..dots@docomo.example")
    nameless = make_bare_customer(sandbox, "", email="someone@contoso.example")
    told = make_bare_customer(sandbox, "Spaces", metadata={"organization": "no slug at all!"})
    blank = make_bare_customer(sandbox, "   ")
    nul = make_bare_customer(sandbox, "Nul\0 & Co", metadata={"organization": "nul\0"})

    done = imported()

    assert len(done[long].name) <= 200
    assert len(done[long].slug) <= 80
    assert done[odd].slug.startswith("cus-")
    assert Organization.objects.get(stripe_customer_id=odd).billing_email == ""
    assert done[nameless].name == "someone@contoso.example"
    assert done[told].slug == "spaces"
    assert done[blank].name == blank
    assert (done[nul].name, done[nul].slug) == ("Nul & Co", "nul")
    assert not any(each.problem for each in done.values())


def test_a_name_of_digits_makes_no_slug_that_is_taken_for_an_organizations_number(sandbox: Sandbox) -> None:
    year = make_bare_customer(sandbox, "2024")
    told = make_bare_customer(sandbox, "Contoso", metadata={"organization": "2024"})
    posing = make_bare_customer(sandbox, "Fabrikam", metadata={"organization": "cus_fabrikam"})

    done = imported()

    assert done[posing].slug == "org-cus_fabrikam"
    assert {done[year].slug, done[told].slug} == {"org-2024", "org-2024-2"}


def test_metadata_that_tell_the_slug_of_before_name_the_renamed_organization(sandbox: Sandbox) -> None:
    UnbilledOrganizationFactory(name="Renamed since", slug="org-2024")
    customer = make_bare_customer(sandbox, "Anything", metadata={"organization": "2024"})

    each = imported()[customer]

    assert (each.outcome, each.slug) == (Outcome.MATCHED, "org-2024")


def test_what_the_ledger_knew_of_the_customer_becomes_the_organizations(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    columns = {"organization": None, "organization_label": None, "stripe_customer_id": world.customer}
    ignored = SubscriptionEventFactory(
        **columns, state="ignored", error="No organization here has this Stripe customer."
    )
    useless = SubscriptionEventFactory(**columns, type="invoiceitem.created", state="ignored", error="")
    stranger = SubscriptionEventFactory(
        **{**columns, "stripe_customer_id": "cus_stranger"}, state="ignored", error="nobody's"
    )

    imported()

    organization = Organization.objects.get(stripe_customer_id=world.customer)
    for event in (ignored, useless, stranger):
        event.refresh_from_db()
    assert (ignored.organization, ignored.organization_label) == (organization, "Northwind Labs")
    assert (ignored.state, ignored.error) == ("done", "")
    assert (useless.organization, useless.state) == (organization, "ignored")
    assert (stranger.organization, stranger.state) == (None, "ignored")


def test_a_customer_that_cannot_be_read_is_told_and_read_by_the_next_run(sandbox: Sandbox) -> None:
    bad, good = make_customer(sandbox).customer, make_bare_customer(sandbox, "Contoso")
    sandbox.control(
        "POST", "faults", {"kind": "error_500", "method": "GET", "path": f"/v1/customers/{bad}", "times": -1}
    )

    status, words = run()

    assert status == 2
    assert "not read" in words
    assert "1 in trouble" in words
    assert Organization.objects.get(stripe_customer_id=good).synced_at is not None
    assert read_in_full_at([bad, good]).keys() == {good}
    sandbox.control("DELETE", "faults")
    CustomerSync.objects.filter(pk=bad).delete()  # as if the run had died before it read
    request_sync(bad)
    assert run()[0] == 0
    assert Organization.objects.get(stripe_customer_id=bad).seats == 8


def test_left_early_it_goes_on_where_it_was(sandbox: Sandbox) -> None:
    for number in range(6):
        make_bare_customer(sandbox, f"Contoso {number}")

    going = import_organizations()
    next(going)
    going.close()

    done = imported()
    assert len(done) == Organization.objects.count() == 6
    assert not Organization.objects.filter(synced_at=None).exists()
    assert SubscriptionEvent.objects.filter(type="organization.imported").count() == 6


def test_metadata_that_name_nobody_leave_it_to_the_name(sandbox: Sandbox) -> None:
    organization = UnbilledOrganizationFactory(name="Northwind Labs")
    customer = make_bare_customer(sandbox, "Northwind Labs", metadata={"organization": "northwind"})

    assert imported()[customer].slug == organization.slug


def test_two_imports_at_once_make_each_organization_once(sandbox: Sandbox) -> None:
    for number in range(8):
        make_bare_customer(sandbox, f"Contoso {number}", metadata={"organization": f"contoso-{number}"})
    together, outcomes = threading.Barrier(2), list[Imported]()

    def take_in() -> None:
        try:
            together.wait(10)
            outcomes.extend(import_organizations())
        finally:
            connections.close_all()

    both = [threading.Thread(target=take_in) for _number in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(30)

    assert Counter(each.outcome for each in outcomes) == {Outcome.CREATED: 8, Outcome.KNOWN: 8}
    assert Organization.objects.count() == 8
    assert SubscriptionEvent.objects.filter(type="organization.imported").count() == 8
    assert not Organization.objects.filter(synced_at=None).exists()


def test_a_stripe_that_does_not_answer_is_said_in_a_sentence(sandbox: Sandbox) -> None:
    sandbox.control("POST", "faults", {"kind": "error_429", "path": "/v1/customers", "times": -1})

    status, words = run()

    assert status == 2
    assert "Stripe is busy" in words


def test_the_report_as_json_counts_and_names_them_all(sandbox: Sandbox) -> None:
    customer = make_bare_customer(sandbox, "Contoso")

    status, words = run("--json", "--dry-run")

    report = json.loads(words)
    assert status == 0
    assert (report["dry_run"], report["created"], report["failure"]) == (True, 1, "")
    assert [each["customer_id"] for each in report["customers"]] == [customer]


def test_more_than_a_page_of_customers_are_all_taken_in(sandbox: Sandbox) -> None:
    for number in range(103):
        make_bare_customer(sandbox, f"Contoso {number}")

    assert len(imported(dry_run=True)) == 103
