"""What filters say of addresses that mean nothing: of every list that is registered, so that none keeps silent."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from adminops.admin.filters import DateSpanFilter, SpanFilter, Telling, parameters_of
from adminops.admin.landing import LandingAdmin
from tests.adminops.pages import Page
from tests.factories import GroupFactory, MembershipFactory, OrganizationFactory, StaffFactory

pytestmark = pytest.mark.django_db

NONSENSE = "no-such-value"
# What is looked for by a scrap of text is not found; it is not left out, or a slip would list everybody.
LOOKED_FOR = {"plan", "organization", "organization__id__exact", "actor", "type"}


def filters_of_all_lists() -> list[Any]:
    """Of every list of ours: where it is, and each of its filters with the parameters of the address."""
    return [
        pytest.param(
            f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist",
            entry[1] if isinstance(entry, tuple) else entry,
            {f"{entry[0]}__exact"} if isinstance(entry, tuple) else parameters_of(entry),
            id=f"{model._meta.label}-{entry[0] if isinstance(entry, tuple) else entry.__name__}",
        )
        for model, model_admin in admin.site._registry.items()
        if isinstance(model_admin, LandingAdmin)
        for entry in model_admin.list_filter
    ]


@pytest.mark.parametrize(("listing", "filter_class", "names"), filters_of_all_lists())
def test_no_filter_passes_over_what_it_does_not_know(
    administrator: Client, listing: str, filter_class: Any, names: set[str]
) -> None:
    assert issubclass(filter_class, Telling)
    for name in names:
        response = administrator.get(reverse(listing), {name: NONSENSE})
        text = Page(response).text
        said = f"“{NONSENSE}”, so nothing is listed" if name == "plan" else f"“{NONSENSE}”"
        assert said in text
        assert text.count(f"“{NONSENSE}”") == 1
        if name not in LOOKED_FOR or ("discrepancy" in listing and name == "type"):
            assert f"“{NONSENSE}” is no value for “" in text
            assert not response.context["cl"].has_active_filters


@pytest.mark.parametrize(("listing", "filter_class", "names"), filters_of_all_lists())
def test_from_after_to_is_said_once(
    administrator: Client, listing: str, filter_class: Any, names: set[str]
) -> None:
    if not issubclass(filter_class, SpanFilter):
        return
    of_days = issubclass(filter_class, DateSpanFilter)
    begin, end = ("2026-03-02", "2026-03-01") if of_days else ("10", "9")
    first, last = (f"{filter_class.parameter_name}_{which}" for which in ("from", "to"))
    said = f"“{filter_class.title}”: From is {'after' if of_days else 'more than'} To, so nothing can match."
    text = Page(administrator.get(reverse(listing), {first: begin, last: end})).text
    assert text.count("so nothing can match") == 1
    assert said in text
    assert (
        "nothing can match" not in Page(administrator.get(reverse(listing), {first: begin, last: begin})).text
    )


ORGANIZATIONS = "/admin/organizations/organization/"


@pytest.mark.parametrize(
    ("days", "listed", "said"),
    [
        ("0", True, "At all"),
        ("9", True, "For 9 days and more"),
        ("10", False, "For 10 days and more"),
        ("1", True, "For 1 day and more"),
        ("3650", False, "For 3650 days and more"),
    ],
)
def test_any_number_of_days_past_due_can_be_asked_for_and_is_then_a_choice(
    support: Client, days: str, listed: bool, said: str
) -> None:
    OrganizationFactory(
        name="Northwind Labs", billing_issue_since=timezone.now() - timedelta(days=9, hours=1)
    )
    page = Page(support.get(ORGANIZATIONS, {"overdue": days}))
    assert "is no value for" not in page.text
    assert said in page.text
    assert ("Northwind Labs" in page.text) is listed


@pytest.mark.parametrize("days", ["3651", "-1", "1.5", "9" * 30, "²"])
def test_what_is_no_number_of_days_says_so(support: Client, days: str) -> None:
    text = Page(support.get(ORGANIZATIONS, {"overdue": days})).text
    assert "is no value for “past due”" in text


def test_a_currency_that_there_is_not_says_so_and_one_that_nobody_pays_in_finds_nobody(
    support: Client,
) -> None:
    OrganizationFactory(name="Northwind Labs", currency="usd")
    slip = Page(support.get(ORGANIZATIONS, {"currency": "yen"})).text
    assert "“yen” is no value for “currency”, so the list is not filtered by it." in slip
    assert "Northwind Labs" in slip
    assert "Northwind Labs" not in Page(support.get(ORGANIZATIONS, {"currency": "JPY"})).text


def test_who_narrows_anew_keeps_the_search_and_the_order_and_no_page_nor_what_was_no_value(
    support: Client,
) -> None:
    query = {"p": "1", "o": "1", "q": "north", "subscription_status__exact": "zzz", "overdue": "zzz"}
    html = support.get(ORGANIZATIONS, query, follow=True).content.decode()
    form = html[html.index('id="filter-form"') :]
    form = form[: form.index("</form>")]
    assert set(re.findall(r'type="hidden" name="(\w+)"', form)) == {"o", "q"}


def test_every_question_with_choices_shows_which_of_them_is_answered(support: Client) -> None:
    for query, expected in (({}, None), ({"subscription_status__exact": "active"}, "active")):
        specs = support.get(ORGANIZATIONS, query).context["cl"].filter_specs
        [spec] = [each for each in specs if each.expected_parameters()[0] == "subscription_status__exact"]
        assert spec.value() == expected
    html = support.get(ORGANIZATIONS).content.decode()
    radios = re.findall(r"<input[^>]*type=\"radio\"[^>]*>", html)
    asked = {name for radio in radios for name in re.findall(r"name=\"(\w+)\"", radio)}
    answered = {
        name for radio in radios if "checked" in radio for name in re.findall(r"name=\"(\w+)\"", radio)
    }
    assert "subscription_status__exact" in asked
    assert asked == answered


ALL_IS_SHOWN = "The address asks for something this list is not narrowed by. All of it is shown."


@pytest.mark.parametrize(
    "listing",
    ["auth/user", "auth/group", "organizations/membership", "organizations/organization", "djstripe/price"],
)
def test_an_address_that_narrows_by_what_there_is_not_shows_all_and_says_so(
    administrator: Client, listing: str
) -> None:
    for query in ({"e": "1"}, {"password__startswith": "a"}, {"nothing__exact": "1"}):
        response = administrator.get(f"/admin/{listing}/", query, follow=True)
        assert response.status_code == 200
        assert Page(response).text.count(ALL_IS_SHOWN) == 1


def test_staff_are_narrowed_by_role_and_by_what_they_are(administrator: Client) -> None:
    role = GroupFactory(name="Bookkeepers")
    StaffFactory(username="ann").groups.add(role)
    StaffFactory(username="ben", is_active=False)

    def found(**query: str) -> set[str]:
        changelist = administrator.get("/admin/auth/user/", query).context["cl"]
        return {row.username for row in changelist.result_list} & {"ann", "ben"}

    assert found() == {"ann", "ben"}
    assert found(groups__id__exact=str(role.pk)) == {"ann"}
    assert found(is_active__exact="0") == {"ben"}
    assert found(is_superuser__exact="1") == set()
    assert found(is_staff__exact="1", is_active__exact="1") == {"ann"}
    assert found(groups__id__exact="999999") == {"ann", "ben"}


def test_what_narrows_the_list_of_staff_stands_above_it_too(administrator: Client) -> None:
    response = administrator.get("/admin/auth/user/", {"is_active__exact": "0"})
    [chosen] = response.context["cl"].chosen_filters
    assert chosen.said in Page(response).text
    assert chosen.without == "?"
    assert not administrator.get("/admin/auth/user/").context["cl"].chosen_filters


def test_members_of_nobody_are_none(administrator: Client) -> None:
    member = MembershipFactory(organization__name="Northwind Labs")
    MembershipFactory()
    address = "/admin/organizations/membership/"
    shown = administrator.get(address, {"organization__id__exact": str(member.organization_id)})
    assert [row.pk for row in shown.context["cl"].result_list] == [member.pk]
    shown = administrator.get(address, {"organization__id__exact": "99999999"})
    assert "No organization is found by “99999999”, so nothing is listed." in Page(shown).text
    assert not shown.context["cl"].result_list
