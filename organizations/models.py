"""Who our customers are: organizations, their members, and the holds that lock them out.

What an organization pays is Stripe's business. The columns marked "from Stripe" are a projection, written by one
function (`billing.sync.sync_customer`) and by nobody else, so that lists and filters need no call to Stripe.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now, Upper
from django.utils.translation import gettext_lazy as _

from organizations.access.tokens import AccessToken  # noqa: F401  (a model too, in a module of its own)
from organizations.querysets import ENDED_STATUSES, HoldQuerySet, OrganizationQuerySet


class SubscriptionStatus(models.TextChoices):
    """Stripe's subscription states, in Stripe's spelling."""

    INCOMPLETE = "incomplete", _("Incomplete")
    INCOMPLETE_EXPIRED = "incomplete_expired", _("Never started")
    TRIALING = "trialing", _("Trial")
    ACTIVE = "active", _("Active")
    PAST_DUE = "past_due", _("Past due")
    UNPAID = "unpaid", _("Unpaid")
    CANCELED = "canceled", _("Canceled")
    PAUSED = "paused", _("Paused")


class BillingInterval(models.TextChoices):
    """How often a price recurs, in Stripe's spelling."""

    DAY = "day", _("daily")
    WEEK = "week", _("weekly")
    MONTH = "month", _("monthly")
    YEAR = "year", _("yearly")


# What a slug must not look like, because whoever names an organization may give its number or its Stripe customer too.
KEY_LIKE = r"^([0-9]+|cus_.*)$"


class Organization(models.Model):
    """A customer of ours: the company that buys seats."""

    name = models.CharField(_("name"), max_length=200)
    slug = models.SlugField(_("slug"), max_length=80, unique=True)
    billing_email = models.EmailField(_("billing e-mail"), blank=True)
    created_at = models.DateTimeField(_("customer since"), db_default=Now())
    last_activity_at = models.DateTimeField(_("last activity"), null=True, blank=True)

    stripe_customer_id = models.CharField(
        _("Stripe customer"), max_length=255, null=True, blank=True, unique=True
    )

    # From Stripe, by the sync; amounts in minor units of `currency` (ISO 4217, lower case as Stripe spells it).
    stripe_subscription_id = models.CharField(
        _("Stripe subscription"), max_length=255, null=True, blank=True, unique=True
    )
    subscription_status = models.CharField(
        _("subscription"), max_length=20, choices=SubscriptionStatus, blank=True
    )
    plan = models.CharField(_("plan"), max_length=250, blank=True)
    price_id = models.CharField(_("price"), max_length=255, blank=True)
    unit_amount = models.BigIntegerField(_("price of a seat"), null=True, blank=True)
    interval = models.CharField(_("billed"), max_length=5, choices=BillingInterval, blank=True)
    interval_count = models.PositiveSmallIntegerField(_("every"), default=1)
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    seats = models.PositiveBigIntegerField(_("seats"), null=True, blank=True)
    mrr = models.BigIntegerField(_("MRR"), default=0)
    current_period_start = models.DateTimeField(_("period start"), null=True, blank=True)
    current_period_end = models.DateTimeField(_("period end"), null=True, blank=True)
    cancel_at_period_end = models.BooleanField(_("cancels at period end"), default=False)
    cancel_at = models.DateTimeField(_("cancels on"), null=True, blank=True)
    trial_end = models.DateTimeField(_("trial ends"), null=True, blank=True)
    scheduled_seats = models.PositiveBigIntegerField(_("planned seats"), null=True, blank=True)
    scheduled_at = models.DateTimeField(_("seats change on"), null=True, blank=True)
    card_brand = models.CharField(_("card"), max_length=20, blank=True)
    card_last4 = models.CharField(_("card ends in"), max_length=4, blank=True)
    card_exp_month = models.PositiveSmallIntegerField(_("card expiry month"), null=True, blank=True)
    card_exp_year = models.PositiveSmallIntegerField(_("card expiry year"), null=True, blank=True)
    billing_issue_since = models.DateTimeField(_("billing issue since"), null=True, blank=True)
    amount_overdue = models.BigIntegerField(
        _("overdue"),
        default=0,
        db_default=0,
        help_text=_("What is left to pay of overdue invoices in the organization's currency."),
    )
    synced_at = models.DateTimeField(_("last read from Stripe"), null=True, blank=True)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        verbose_name = _("organization")
        verbose_name_plural = _("organizations")
        ordering = ["name", "pk"]
        permissions = [
            ("change_seats", _("Can change the seats of a subscription")),
            ("cancel_subscription", _("Can cancel a subscription")),
            ("reactivate_subscription", _("Can reactivate a subscription")),
            ("pause_subscription", _("Can pause and resume the collection of invoices")),
            ("suspend_organization", _("Can suspend an organization and lift its holds")),
            ("place_legal_hold", _("Can place and lift legal holds")),
            ("refund_invoice", _("Can refund an invoice")),
            ("resync_organization", _("Can read an organization from Stripe again")),
            ("apply_discount", _("Can apply and remove coupons")),
            ("create_portal_session", _("Can make a link to Stripe's customer portal")),
            ("export_lists", _("Can take lists away as files")),
        ]
        indexes = [
            models.Index(fields=["name", "id"], name="org_name"),
            models.Index(fields=["subscription_status", "name"], name="org_subscription_status"),
            models.Index(fields=["current_period_end"], name="org_period_end"),
            models.Index(fields=["mrr"], name="org_mrr"),
            models.Index(fields=["currency", "name"], name="org_currency"),
            GinIndex(OpClass(Upper("plan"), name="gin_trgm_ops"), name="org_plan_trigram"),
            models.Index(fields=["last_activity_at"], name="org_last_activity"),
            models.Index(fields=["created_at"], name="org_created"),
            models.Index(fields=["seats"], name="org_seats"),
            # Few at any time, and asked for all day long.
            models.Index(
                fields=["billing_issue_since"],
                condition=Q(billing_issue_since__isnull=False),
                name="org_billing_issue",
            ),
            models.Index(
                fields=["trial_end"], condition=Q(subscription_status="trialing"), name="org_trial_end"
            ),
            # Trigrams of the upper case, because that is how Django writes `icontains` for PostgreSQL.
            GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="org_name_trigram"),
            GinIndex(OpClass(Upper("slug"), name="gin_trgm_ops"), name="org_slug_trigram"),
            GinIndex(OpClass(Upper("billing_email"), name="gin_trgm_ops"), name="org_email_trigram"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(slug__regex=KEY_LIKE),
                name="slug_is_no_key",
                violation_error_message=_("A slug cannot be made only of digits, or begin with “cus_”."),
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_live_subscription(self) -> bool:
        """Whether there is a subscription that has not ended."""
        return bool(self.stripe_subscription_id) and self.subscription_status not in ENDED_STATUSES

    @property
    def ends_at(self) -> datetime | None:
        """When a live subscription is set to end; None where it goes on or has ended."""
        if not self.has_live_subscription:
            return None
        return self.cancel_at or (self.current_period_end if self.cancel_at_period_end else None)

    def seats_used(self) -> int:
        """Seats that active members occupy now."""
        return seats_used_of([self]).get(self.pk, 0)

    def open_holds(self) -> HoldQuerySet:
        """The holds that keep this organization's members out now."""
        return Hold.objects.open().filter(organization=self)


class Membership(models.Model):
    """A person's place in an organization. Active members occupy seats."""

    class Role(models.TextChoices):
        OWNER = "owner", _("Owner")
        ADMIN = "admin", _("Admin")
        MEMBER = "member", _("Member")
        VIEWER = "viewer", _("Viewer")

    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        INVITED = "invited", _("Invited")
        SUSPENDED = "suspended", _("Suspended")
        REMOVED = "removed", _("Removed")

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships", verbose_name=_("organization")
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="memberships",
        verbose_name=_("person"),
    )
    role = models.CharField(_("role"), max_length=10, choices=Role, default=Role.MEMBER)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.ACTIVE)
    joined_at = models.DateTimeField(_("joined"), db_default=Now())
    last_activity_at = models.DateTimeField(_("last activity"), null=True, blank=True)

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        ordering = ["organization_id", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_membership_per_person")
        ]
        indexes = [
            models.Index(fields=["organization", "status"], name="membership_status"),
            # Who has, or lacks, a member of a role.
            models.Index(
                fields=["role", "organization"],
                condition=models.Q(status="active"),
                name="membership_active_role",
            ),
            # For the list of all members, which is narrowed by either, the newest first.
            models.Index(fields=["status", "-id"], name="membership_of_status"),
            models.Index(fields=["role", "-id"], name="membership_of_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()})"


def seats_used_of(organizations: Iterable[Organization]) -> dict[int, int]:
    """Seats that active members occupy now, by the organization's key; those without any are left out."""
    active = Membership.objects.filter(organization__in=organizations, status=Membership.Status.ACTIVE)
    return dict(active.order_by().values_list("organization").annotate(models.Count("pk")))


class Hold(models.Model):
    """A reason why members may not come in. An organization is suspended while any hold is open."""

    class Kind(models.TextChoices):
        NON_PAYMENT = "non_payment", _("Non-payment")
        ABUSE = "abuse", _("Abuse")
        LEGAL = "legal", _("Legal")
        MANUAL = "manual", _("Manual")

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="holds", verbose_name=_("organization")
    )
    kind = models.CharField(_("kind"), max_length=12, choices=Kind)
    reason = models.TextField(_("reason"))
    placed_at = models.DateTimeField(_("placed"), db_default=Now())
    placed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("placed by"),
    )
    ends_at = models.DateTimeField(_("ends"), null=True, blank=True)
    stops_billing = models.BooleanField(
        _("stops billing"),
        default=False,
        db_default=False,
        help_text=_("Whether Stripe was told to void what falls due while this hold lasts."),
    )
    lifted_at = models.DateTimeField(_("lifted"), null=True, blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("lifted by"),
    )

    objects = HoldQuerySet.as_manager()

    class Meta:
        verbose_name = _("hold")
        verbose_name_plural = _("holds")
        ordering = ["-placed_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "kind"],
                condition=Q(lifted_at__isnull=True),
                name="one_unlifted_hold_per_kind",
            )
        ]

    def __str__(self) -> str:
        return self.get_kind_display()


class Note(models.Model):
    """What a colleague wrote down about a customer: dated, signed, and kept once its author had time to mend it.

    Nobody is the author of what was written down before notes were signed.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="staff_notes", verbose_name=_("organization")
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )
    text = models.TextField(_("note"), max_length=5000)
    pinned = models.BooleanField(_("pinned"), default=False)
    created_at = models.DateTimeField(_("written"), db_default=Now())
    edited_at = models.DateTimeField(_("mended"), null=True, blank=True)

    class Meta:
        verbose_name = _("note")
        verbose_name_plural = _("notes")
        ordering = ["-pinned", "-pk"]
        default_permissions = ("add", "view")
        indexes = [models.Index(fields=["organization", "-pinned", "-id"], name="note_of_organization")]

    def __str__(self) -> str:
        return self.text[:80]
