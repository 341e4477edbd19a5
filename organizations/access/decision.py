"""May a person come in, and why not. Pure: it looks at rows that were read already (docs/decisions/access.md).

Three questions in this order: is the organization held, does its subscription let members in, and is the person an
active member. The first no is the answer; only who is no member, or none any more, is told that and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from organizations.models import Hold, Membership, Organization, SubscriptionStatus


class Reason(TextChoices):
    """Why the answer is as it is. The values are what products read: they never change their meaning."""

    OPEN = "open", gettext_lazy("You have access to %(organization)s.")
    PAST_DUE = (
        "past_due",
        gettext_lazy(
            "You have access to %(organization)s. Its last invoice is not paid yet; an owner can pay it."
        ),
    )
    HOLD_LEGAL = (
        "hold_legal",
        gettext_lazy("Access to %(organization)s is closed for legal reasons. Please write to us."),
    )
    HOLD_ABUSE = (
        "hold_abuse",
        gettext_lazy(
            "Access to %(organization)s is closed while we look into how it was used. Please write to us."
        ),
    )
    HOLD_MANUAL = (
        "hold_manual",
        gettext_lazy("Access to %(organization)s is closed for now. Please write to us."),
    )
    HOLD_NON_PAYMENT = (
        "hold_non_payment",
        gettext_lazy(
            "Access to %(organization)s is closed because an invoice is not paid."
            " An owner can pay it; then access opens by itself."
        ),
    )
    SUBSCRIPTION_UNPAID = (
        "subscription_unpaid",
        gettext_lazy(
            "Access to %(organization)s is closed because its invoices are not paid."
            " An owner can pay them; then access opens by itself."
        ),
    )
    SUBSCRIPTION_INCOMPLETE = (
        "subscription_incomplete",
        gettext_lazy(
            "Access to %(organization)s is not open yet, because its first payment has not gone through."
            " An owner can pay it; then access opens by itself."
        ),
    )
    SUBSCRIPTION_PAUSED = (
        "subscription_paused",
        gettext_lazy(
            "Access to %(organization)s is closed because its trial ended without a card. An owner can add one."
        ),
    )
    SUBSCRIPTION_ENDED = (
        "subscription_ended",
        gettext_lazy(
            "Access to %(organization)s is closed because its subscription has ended. An owner can ask us to"
            " start it again."
        ),
    )
    NO_SUBSCRIPTION = (
        "no_subscription",
        gettext_lazy("Access to %(organization)s is not open, because it has no subscription yet."),
    )
    SUBSCRIPTION_UNKNOWN = (
        "subscription_unknown",
        gettext_lazy(
            "We could not tell whether %(organization)s has a subscription, so access is closed."
            " Please write to us."
        ),
    )
    NOT_A_MEMBER = "not_a_member", gettext_lazy("You are not a member of %(organization)s.")
    MEMBER_REMOVED = "member_removed", gettext_lazy("You are no longer a member of %(organization)s.")
    MEMBER_INVITED = (
        "member_invited",
        gettext_lazy(
            "You are invited to %(organization)s. Once you have accepted the invitation, you have access."
        ),
    )
    MEMBER_SUSPENDED = (
        "member_suspended",
        gettext_lazy(
            "Your own access to %(organization)s is suspended. An owner or an admin there can say why."
        ),
    )
    ACCOUNT_DISABLED = (
        "account_disabled",
        gettext_lazy(
            "Your account is disabled, so you have no access to %(organization)s. Please write to us."
        ),
    )


# The gravest first: paying does not help whoever is held for abuse as well.
_HOLDS: dict[str, Reason] = {
    Hold.Kind.LEGAL: Reason.HOLD_LEGAL,
    Hold.Kind.ABUSE: Reason.HOLD_ABUSE,
    Hold.Kind.MANUAL: Reason.HOLD_MANUAL,
    Hold.Kind.NON_PAYMENT: Reason.HOLD_NON_PAYMENT,
}
# What each state of Stripe's means for access; the reasons are in docs/decisions/access.md.
_SUBSCRIPTIONS: dict[str, Reason] = {
    "": Reason.NO_SUBSCRIPTION,
    SubscriptionStatus.TRIALING: Reason.OPEN,
    SubscriptionStatus.ACTIVE: Reason.OPEN,
    SubscriptionStatus.PAST_DUE: Reason.PAST_DUE,
    SubscriptionStatus.UNPAID: Reason.SUBSCRIPTION_UNPAID,
    SubscriptionStatus.INCOMPLETE: Reason.SUBSCRIPTION_INCOMPLETE,
    SubscriptionStatus.INCOMPLETE_EXPIRED: Reason.SUBSCRIPTION_ENDED,
    SubscriptionStatus.PAUSED: Reason.SUBSCRIPTION_PAUSED,
    SubscriptionStatus.CANCELED: Reason.SUBSCRIPTION_ENDED,
}
_MEMBERSHIPS: dict[str, Reason] = {
    Membership.Status.ACTIVE: Reason.OPEN,
    Membership.Status.INVITED: Reason.MEMBER_INVITED,
    Membership.Status.SUSPENDED: Reason.MEMBER_SUSPENDED,
    Membership.Status.REMOVED: Reason.MEMBER_REMOVED,
}
LETS_IN = frozenset({Reason.OPEN, Reason.PAST_DUE})
# What a payment mends, or a card. Whether there is anything to pay is for the invoices to say.
_FOR_NON_PAYMENT = frozenset(
    {
        Reason.HOLD_NON_PAYMENT,
        Reason.PAST_DUE,
        Reason.SUBSCRIPTION_UNPAID,
        Reason.SUBSCRIPTION_INCOMPLETE,
        Reason.SUBSCRIPTION_PAUSED,
    }
)
# Who the organization is none of the business of, and how it stands neither.
_STRANGERS = frozenset({Reason.NOT_A_MEMBER, Reason.MEMBER_REMOVED})


@dataclass(frozen=True)
class Step:
    """One of the three questions, answered."""

    question: str | Promise
    reason: Reason

    @property
    def passed(self) -> bool:
        """Whether this alone would let the person in."""
        return self.reason in LETS_IN


@dataclass(frozen=True)
class Access:
    """Whether a person may come in, and why."""

    allowed: bool
    reason: Reason
    steps: tuple[Step, ...]
    """Holds, subscription, membership."""
    organization: Organization
    membership: Membership | None
    until: datetime | None
    """When the answer changes by itself, as far as our rows tell: a hold's end, or the subscription's."""

    @property
    def sentence(self) -> str:
        """The reason in words for the person themselves. It says nothing that staff wrote down."""
        return str(self.reason.label) % {"organization": self.organization.name}

    @property
    def owner_can_pay(self) -> bool:
        """Whether this is an owner whom a payment, or another card, would help."""
        return self._is_about_paying and self._is_owner

    @property
    def asks_an_owner(self) -> bool:
        """Whether this is a member who can only ask an owner to pay."""
        return self._is_about_paying and not self._is_owner

    @property
    def _is_about_paying(self) -> bool:
        """A suspended member hears of the payment first, but has nothing to do with it."""
        return self.reason in _FOR_NON_PAYMENT and self.steps[-1].passed

    @property
    def _is_owner(self) -> bool:
        return self.membership is not None and self.membership.role == Membership.Role.OWNER


def decide(organization: Organization, membership: Membership | None, holds: Sequence[Hold]) -> Access:
    """Decide about one person, from the organization, their membership there with its user, and the open holds."""
    steps = (
        Step(gettext_lazy("No hold keeps the organization out"), _of_holds(holds)),
        Step(
            gettext_lazy("The subscription lets members in"),
            _SUBSCRIPTIONS.get(organization.subscription_status, Reason.SUBSCRIPTION_UNKNOWN),
        ),
        Step(gettext_lazy("The person is an active member"), _of_membership(membership)),
    )
    no = [step.reason for step in steps if not step.passed]
    if not no:
        reason = next((step.reason for step in steps if step.reason != Reason.OPEN), Reason.OPEN)
    else:
        reason = no[-1] if no[-1] in _STRANGERS else no[0]
    return Access(
        allowed=not no,
        reason=reason,
        steps=steps,
        organization=organization,
        membership=membership,
        until=_until(organization, holds, no),
    )


def _of_holds(holds: Sequence[Hold]) -> Reason:
    kinds = {hold.kind for hold in holds}
    if not kinds:
        return Reason.OPEN
    # A kind that is new to this table keeps people out like the others.
    return next((reason for kind, reason in _HOLDS.items() if kind in kinds), Reason.HOLD_MANUAL)


def _of_membership(membership: Membership | None) -> Reason:
    if membership is None:
        return Reason.NOT_A_MEMBER
    reason = _MEMBERSHIPS.get(membership.status, Reason.MEMBER_SUSPENDED)
    if reason not in _STRANGERS and not membership.user.is_active:
        return Reason.ACCOUNT_DISABLED
    return reason


def _until(organization: Organization, holds: Sequence[Hold], no: list[Reason]) -> datetime | None:
    """When holds that all end have ended, if nothing else is in the way; or when what lets in now ends."""
    if not no:
        if organization.cancel_at:
            return organization.cancel_at
        return organization.current_period_end if organization.cancel_at_period_end else None
    ends = [hold.ends_at for hold in holds if hold.ends_at]
    only_held = len(no) == 1 and bool(holds)
    return max(ends) if only_held and len(ends) == len(holds) else None
