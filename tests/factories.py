"""A factory for every model of ours, and for the people in them.

Each makes the plainest valid row: a paying customer, a done event. What a test is about, it says itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import factory
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone
from factory.django import DjangoModelFactory

from adminops.models import Counter
from billing.models import (
    Alert,
    CustomerSync,
    Discrepancy,
    EventPayload,
    OperationStep,
    ReconciliationRun,
    SubscriptionEvent,
)
from organizations.access.tokens import AccessToken, digest_of
from organizations.models import BillingInterval, Hold, Membership, Note, Organization, SubscriptionStatus

PERIOD_START = datetime(2026, 11, 12, tzinfo=UTC)


class GroupFactory(DjangoModelFactory[Group]):
    """A role."""

    class Meta:
        model = Group

    name = factory.Sequence(lambda n: f"Role {n}")


class UserFactory(DjangoModelFactory[User]):
    """A person who may be a member of organizations, and may not enter the back office."""

    class Meta:
        model = get_user_model()
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"person{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.com")
    first_name = "Sam"
    last_name = factory.Sequence(lambda n: f"Person {n}")


class StaffFactory(UserFactory):
    """A colleague. `permissions=["organizations.change_seats", …]` says what this one may do."""

    username = factory.Sequence(lambda n: f"staff{n}")
    is_staff = True

    @factory.post_generation
    def permissions(self: Any, create: bool, extracted: list[str] | None, **kwargs: Any) -> None:
        """Grant permissions by their full names; an unknown name is an error of the test."""
        for name in extracted or []:
            app_label, codename = name.split(".")
            self.user_permissions.add(
                Permission.objects.get(content_type__app_label=app_label, codename=codename)
            )


class AdministratorFactory(UserFactory):
    """A colleague who may do everything."""

    username = factory.Sequence(lambda n: f"administrator{n}")
    is_staff = True
    is_superuser = True


class OrganizationFactory(DjangoModelFactory[Organization]):
    """A customer who pays $29.00 a month for each of eight seats."""

    class Meta:
        model = Organization

    name = factory.Sequence(lambda n: f"Northwind Labs {n}")
    slug = factory.Sequence(lambda n: f"northwind-labs-{n}")
    billing_email = factory.LazyAttribute(lambda organization: f"billing@{organization.slug[:60]}.example")
    stripe_customer_id = factory.Sequence(lambda n: f"cus_factory{n:08}")
    stripe_subscription_id = factory.Sequence(lambda n: f"sub_factory{n:08}")
    subscription_status = SubscriptionStatus.ACTIVE
    plan = "Team"
    price_id = "price_team_month_usd"
    unit_amount = 2900
    interval = BillingInterval.MONTH
    currency = "usd"
    seats = 8
    mrr = factory.LazyAttribute(
        lambda organization: (organization.unit_amount or 0) * (organization.seats or 0)
    )
    current_period_start = PERIOD_START
    current_period_end = PERIOD_START + timedelta(days=30)
    card_brand = "visa"
    card_last4 = "4242"
    card_exp_month = 12
    card_exp_year = 2034
    synced_at = factory.LazyFunction(timezone.now)


class UnbilledOrganizationFactory(DjangoModelFactory[Organization]):
    """An organization that Stripe knows nothing of."""

    class Meta:
        model = Organization

    name = factory.Sequence(lambda n: f"Contoso {n}")
    slug = factory.Sequence(lambda n: f"contoso-{n}")


class MembershipFactory(DjangoModelFactory[Membership]):
    """An active member."""

    class Meta:
        model = Membership

    organization = factory.SubFactory(OrganizationFactory)
    user = factory.SubFactory(UserFactory)


class HoldFactory(DjangoModelFactory[Hold]):
    """An open hold, placed by hand."""

    class Meta:
        model = Hold

    organization = factory.SubFactory(OrganizationFactory)
    kind = Hold.Kind.MANUAL
    reason = "The contract is being renegotiated."
    placed_by = factory.SubFactory(StaffFactory)


class NoteFactory(DjangoModelFactory[Note]):
    """What a colleague wrote down."""

    class Meta:
        model = Note

    organization = factory.SubFactory(OrganizationFactory)
    author = factory.SubFactory(StaffFactory)
    text = "Call on Mondays."


class SubscriptionEventFactory(DjangoModelFactory[SubscriptionEvent]):
    """A webhook of Stripe's that was taken in and used."""

    class Meta:
        model = SubscriptionEvent

    source = SubscriptionEvent.Source.STRIPE
    type = "customer.subscription.updated"
    organization = factory.SubFactory(OrganizationFactory)
    organization_label = factory.LazyAttribute(
        lambda event: event.organization.name if event.organization else None
    )
    stripe_event_id = factory.Sequence(lambda n: f"evt_factory{n:08}")
    stripe_object_id: Any = None
    stripe_customer_id = factory.LazyAttribute(
        lambda event: event.organization.stripe_customer_id if event.organization else None
    )
    objects_to_read = factory.LazyAttribute(
        lambda event: [event.stripe_object_id] if event.stripe_object_id else None
    )
    state = SubscriptionEvent.State.DONE
    processed_at = factory.LazyFunction(timezone.now)
    livemode = False


class StaffEventFactory(SubscriptionEventFactory):
    """A seat change by a colleague that Stripe confirmed."""

    source = SubscriptionEvent.Source.STAFF
    type = "change_seats"
    stripe_event_id = None
    actor = factory.SubFactory(StaffFactory)
    actor_label = factory.LazyAttribute(lambda event: event.actor.username if event.actor else None)
    reason = "new hires"
    currency = "usd"
    previous_quantity = 8
    quantity = 12
    lock_key = factory.Sequence(lambda n: f"subscription:sub_factory{n:08}")
    message = "Seats changed from 8 to 12. Stripe confirmed at 14:05:07."


class EventPayloadFactory(DjangoModelFactory[EventPayload]):
    """The body of a webhook."""

    class Meta:
        model = EventPayload

    event = factory.SubFactory(SubscriptionEventFactory)
    body = '{"id": "evt_1", "object": "event", "type": "customer.subscription.updated"}'


class OperationStepFactory(DjangoModelFactory[OperationStep]):
    """One answered call to Stripe."""

    class Meta:
        model = OperationStep

    event = factory.SubFactory(StaffEventFactory)
    position = factory.Sequence(lambda n: n % 30_000)
    name = "subscription"
    method = "POST"
    path = "/v1/subscriptions/sub_1"
    params = factory.LazyFunction(lambda: {"proration_behavior": "create_prorations"})
    sent_at = factory.LazyFunction(timezone.now)
    answered_at = factory.LazyFunction(timezone.now)


class CustomerSyncFactory(DjangoModelFactory[CustomerSync]):
    """A customer of whom nothing is waiting to be read."""

    class Meta:
        model = CustomerSync

    customer_id = factory.Sequence(lambda n: f"cus_factory{n:08}")


class CounterFactory(DjangoModelFactory[Counter]):
    """A counter that stands at one for a minute."""

    class Meta:
        model = Counter

    key = factory.Sequence(lambda n: f"counter-{n}")
    value = 1
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(minutes=1))


class AlertFactory(DjangoModelFactory[Alert]):
    """A refund that failed."""

    class Meta:
        model = Alert

    kind = "refund_failed"
    key = factory.Sequence(lambda n: f"refund_failed:re_{n}")
    severity = Alert.Severity.TODAY
    message = "The refund of $29.00 failed; the money is back at Stripe, not with the customer."
    organization = factory.SubFactory(OrganizationFactory)


class AccessTokenFactory(DjangoModelFactory[AccessToken]):
    """A product's token, which works."""

    class Meta:
        model = AccessToken

    name = factory.Sequence(lambda n: f"Product {n}")
    digest = factory.Sequence(lambda n: digest_of(f"access_factory{n}"))
    ending = "ory0"


class ReconciliationRunFactory(DjangoModelFactory[ReconciliationRun]):
    """A run over everything that came to its end and found all in order."""

    class Meta:
        model = ReconciliationRun

    kind = ReconciliationRun.Kind.FULL
    state = ReconciliationRun.State.DONE
    finished_at = factory.LazyFunction(timezone.now)
    organizations = 60


class DiscrepancyFactory(DjangoModelFactory[Discrepancy]):
    """Three seats more at Stripe than here."""

    class Meta:
        model = Discrepancy

    type = "seats"
    organization = factory.SubFactory(OrganizationFactory)
    stripe_customer_id = factory.LazyAttribute(
        lambda row: row.organization.stripe_customer_id if row.organization else ""
    )
    stripe_object_id = factory.LazyAttribute(
        lambda row: row.organization.stripe_subscription_id if row.organization else ""
    )
    ours = factory.LazyFunction(lambda: {"seats": 8})
    theirs = factory.LazyFunction(lambda: {"seats": 11})
    amount = 8700
    currency = "usd"
