"""What filters say of addresses that mean nothing: of every list that is registered, so that none keeps silent."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from adminops.admin.filters import DateSpanFilter, SpanFilter, Telling, parameters_of
from adminops.admin.landing import LandingAdmin
from tests.adminops.pages import Page
from tests.factories import GroupFactory, MembershipFactory, StaffFactory

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


def test_members_of_nobody_are_none(administrator: Client) -> None:
    member = MembershipFactory(organization__name="Northwind Labs")
    MembershipFactory()
    address = "/admin/organizations/membership/"
    shown = administrator.get(address, {"organization__id__exact": str(member.organization_id)})
    assert [row.pk for row in shown.context["cl"].result_list] == [member.pk]
    shown = administrator.get(address, {"organization__id__exact": "99999999"})
    assert "No organization is found by “99999999”, so nothing is listed." in Page(shown).text
    assert not shown.context["cl"].result_list
