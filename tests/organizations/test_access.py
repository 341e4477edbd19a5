"""May a person come in: holds, subscription and membership, in this order."""

from __future__ import annotations

import importlib
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from organizations.access.decision import LETS_IN, Reason, decide
from organizations.access.reading import Ambiguous, accesses_of, find_access
from organizations.models import Hold, Membership, Organization, SubscriptionStatus
from tests.factories import (
    HoldFactory,
    MembershipFactory,
    OrganizationFactory,
    StaffFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db

Role, Status = Membership.Role, Membership.Status


def make_member(**columns: Any) -> Membership:
    member: Membership = MembershipFactory(**columns)
    return member


def reason_for(member: Membership) -> Reason:
    (access,) = accesses_of(member.user)
    return access.reason


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("", "no_subscription"),
        ("trialing", "open"),
        ("active", "open"),
        ("past_due", "past_due"),
        ("unpaid", "subscription_unpaid"),
        ("incomplete", "subscription_incomplete"),
        ("incomplete_expired", "subscription_ended"),
        ("paused", "subscription_paused"),
        ("canceled", "subscription_ended"),
        ("invented_since", "subscription_unknown"),
    ],
)
def test_each_state_of_a_subscription_has_its_answer(status: str, reason: str) -> None:
    member = make_member(organization__subscription_status=status)
    (access,) = accesses_of(member.user)
    assert access.reason == reason
    assert access.allowed is (reason in {"open", "past_due"})
    assert member.organization.name in access.sentence


def test_no_state_of_stripes_is_forgotten() -> None:
    for status in SubscriptionStatus:
        access = decide(Organization(subscription_status=status), None, [])
        assert access.steps[1].reason != Reason.SUBSCRIPTION_UNKNOWN


@pytest.mark.parametrize("kind", Hold.Kind.values)
def test_each_kind_of_hold_closes_access_whatever_is_paid(kind: str) -> None:
    member = make_member()
    HoldFactory(organization=member.organization, kind=kind, reason="They stole our templates.")
    (access,) = accesses_of(member.user)
    assert not access.allowed
    assert access.reason == f"hold_{kind}"
    assert "stole" not in access.sentence


def test_the_gravest_hold_is_the_answer() -> None:
    member = make_member(role=Role.OWNER)
    HoldFactory(organization=member.organization, kind=Hold.Kind.NON_PAYMENT)
    HoldFactory(organization=member.organization, kind=Hold.Kind.ABUSE)
    (access,) = accesses_of(member.user)
    assert access.reason == Reason.HOLD_ABUSE
    assert not access.owner_can_pay


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("active", "open"),
        ("invited", "member_invited"),
        ("suspended", "member_suspended"),
        ("removed", "member_removed"),
    ],
)
def test_each_state_of_a_membership_has_its_answer(status: str, reason: str) -> None:
    assert reason_for(make_member(status=status)) == reason


def test_a_disabled_account_stays_out() -> None:
    assert reason_for(make_member(user__is_active=False)) == Reason.ACCOUNT_DISABLED


def test_the_first_no_is_the_answer_and_all_three_are_told() -> None:
    member = make_member(organization__subscription_status="unpaid", status=Status.SUSPENDED)
    HoldFactory(organization=member.organization, kind=Hold.Kind.LEGAL)
    (access,) = accesses_of(member.user)
    assert access.reason == Reason.HOLD_LEGAL
    assert [step.reason for step in access.steps] == [
        Reason.HOLD_LEGAL,
        Reason.SUBSCRIPTION_UNPAID,
        Reason.MEMBER_SUSPENDED,
    ]
    assert not any(step.passed for step in access.steps)


def test_strangers_and_former_members_hear_nothing_of_bills_and_holds() -> None:
    organization = OrganizationFactory(subscription_status="unpaid")
    HoldFactory(organization=organization)
    former = make_member(organization=organization, status=Status.REMOVED, role=Role.OWNER)
    assert reason_for(former) == Reason.MEMBER_REMOVED
    stranger = find_access(organization.slug, str(UserFactory().pk))
    assert stranger
    assert stranger.reason == Reason.NOT_A_MEMBER


def test_only_an_active_owner_can_pay_and_others_ask_one() -> None:
    organization = OrganizationFactory(subscription_status="unpaid")
    (owner,) = accesses_of(make_member(organization=organization, role=Role.OWNER).user)
    (admin,) = accesses_of(make_member(organization=organization, role=Role.ADMIN).user)
    suspended = make_member(organization=organization, role=Role.OWNER, status=Status.SUSPENDED)
    (former,) = accesses_of(suspended.user)
    assert (owner.owner_can_pay, owner.asks_an_owner) == (True, False)
    assert (admin.owner_can_pay, admin.asks_an_owner) == (False, True)
    assert (former.owner_can_pay, former.asks_an_owner) == (False, False)


def test_a_hold_opens_access_at_the_moment_of_its_end() -> None:
    member = make_member()
    ends = timezone.now() + timedelta(hours=2)
    hold = HoldFactory(organization=member.organization, ends_at=ends)
    (access,) = accesses_of(member.user)
    assert access.until == ends
    Hold.objects.filter(pk=hold.pk).update(ends_at=timezone.now())
    assert reason_for(member) == Reason.OPEN


def test_a_hold_without_an_end_promises_none() -> None:
    member = make_member()
    HoldFactory(organization=member.organization, kind=Hold.Kind.LEGAL)
    HoldFactory(organization=member.organization, ends_at=timezone.now() + timedelta(hours=2))
    (access,) = accesses_of(member.user)
    assert access.until is None


def test_a_subscription_that_is_set_to_end_says_when() -> None:
    member = make_member(organization__cancel_at_period_end=True)
    (access,) = accesses_of(member.user)
    assert access.allowed
    assert access.until == member.organization.current_period_end


def test_whoever_loses_access_loses_it_with_the_next_look() -> None:
    member = make_member()
    assert reason_for(member) == Reason.OPEN
    hold = HoldFactory(organization=member.organization)
    assert reason_for(member) == Reason.HOLD_MANUAL
    hold.lifted_at = timezone.now()
    hold.save()
    assert reason_for(member) == Reason.OPEN
    Membership.objects.filter(pk=member.pk).update(status=Status.SUSPENDED)
    assert reason_for(member) == Reason.MEMBER_SUSPENDED


def test_two_queries_are_enough(django_assert_num_queries: Any) -> None:
    member = make_member()
    with django_assert_num_queries(2):
        assert find_access(member.organization.slug, member.user.email)
    for _each in range(3):
        MembershipFactory(user=member.user)
    with django_assert_num_queries(2):
        assert len(accesses_of(member.user)) == 4


@pytest.mark.parametrize("how", ["pk", "slug", "stripe_customer_id"])
def test_an_organization_is_named_by_number_slug_or_stripe_customer(how: str) -> None:
    member = make_member()
    access = find_access(str(getattr(member.organization, how)), str(member.user_id))
    assert access
    assert access.allowed


@pytest.mark.parametrize("slug", ["2024", "7", "99999999999999999999", "cus_northwind"])
def test_no_slug_can_be_taken_for_a_number_or_a_customer(slug: str) -> None:
    organization = OrganizationFactory.build(slug=slug)
    with pytest.raises(ValidationError, match="only of digits"):
        organization.validate_constraints()
    with pytest.raises(IntegrityError, match="slug_is_no_key"), transaction.atomic():
        organization.save()


def test_a_slug_that_could_be_taken_for_a_number_or_a_customer_is_given_another() -> None:
    renaming = importlib.import_module("organizations.migrations.0007_slug_is_no_key")
    with connection.cursor() as cursor:  # as it was before; taken back with the test's transaction
        cursor.execute("ALTER TABLE organizations_organization DROP CONSTRAINT slug_is_no_key")
    slugs = ["2024", "org-2024", "7-eleven", "cus_x", "cus-x", "9" * 80, "org-" + "9" * 76]
    made = [OrganizationFactory(slug=slug) for slug in slugs]

    renaming.rename(apps, None)

    now = [Organization.objects.get(pk=each.pk).slug for each in made]
    assert now == [
        "org-2024-2",
        "org-2024",
        "7-eleven",
        "org-cus_x",
        "cus-x",
        "org-" + "9" * 74 + "-2",
        "org-" + "9" * 76,
    ]


def test_an_address_is_one_whatever_its_capitals_but_not_whatever_its_letters() -> None:
    member = make_member(user__email="mike@example.com")
    slug = member.organization.slug
    found = find_access(slug, "Mike@Example.com")
    assert found
    assert found.allowed
    other = find_access(slug, "mıke@example.com")  # a dotless ı
    assert other
    assert other.reason == Reason.NOT_A_MEMBER


def test_two_members_with_one_address_are_not_taken_for_each_other() -> None:
    member = make_member(user__email="shared@example.com")
    make_member(organization=member.organization, user__email="Shared@example.com", status=Status.REMOVED)
    with pytest.raises(Ambiguous):
        find_access(member.organization.slug, "shared@example.com")
    found = find_access(member.organization.slug, str(member.user_id))
    assert found
    assert found.allowed


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "\0",
        "a\0b",
        "' OR 1=1 --",
        "²",
        "-1",
        "9" * 30,
        str(2**63),
        "cus_",
        "x" * 5000,
        "🦆",
        "%",
        "cus_%",
        "../admin",
    ],
)
def test_hostile_names_find_nobody(hostile: str) -> None:
    member = make_member()
    assert find_access(hostile, member.user.email) is None
    stranger = find_access(member.organization.slug, hostile)
    assert stranger
    assert stranger.reason == Reason.NOT_A_MEMBER


def test_members_elsewhere_are_no_members_here() -> None:
    here, there = make_member(), make_member()
    found = find_access(here.organization.slug, there.user.email)
    assert found
    assert found.reason == Reason.NOT_A_MEMBER


def test_staff_are_no_members_by_being_staff() -> None:
    found = find_access(OrganizationFactory().slug, StaffFactory(is_superuser=True).email)
    assert found
    assert found.reason not in LETS_IN
