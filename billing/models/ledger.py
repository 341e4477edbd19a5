"""The ledger, its payloads, and the steps of operations.

Amounts are minor units of the row's ISO currency. Times are aware UTC. What a column of evidence once says, it says
for ever: database triggers (migration 0002) refuse any change but from NULL to a value, and any DELETE or TRUNCATE.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from organizations.models import Organization


class SubscriptionEvent(models.Model):
    """One line of an organization's history: what Stripe told us, what staff did, what our jobs did."""

    class Source(models.TextChoices):
        STRIPE = "stripe", _("Stripe")
        STAFF = "staff", _("Staff")
        SYSTEM = "system", _("Back office")

    class State(models.TextChoices):
        PENDING = "pending", _("In progress")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        PARKED = "parked", _("Needs a person")
        IGNORED = "ignored", _("Not used")

    # -- evidence: from NULL to a value, once -----------------------------------------------------------
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    source = models.CharField(_("source"), max_length=6, choices=Source)
    type = models.CharField(_("type"), max_length=100)
    created_at = models.DateTimeField(_("recorded"), db_default=Now())
    occurred_at = models.DateTimeField(_("happened"), null=True, blank=True)
    recovered = models.BooleanField(
        _("recovered"),
        default=False,
        help_text=_("Read from Stripe's list of events, because its delivery never reached us."),
    )

    organization = models.ForeignKey(
        Organization,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="events",
        verbose_name=_("organization"),
        db_index=False,  # `event_organization` begins with it
    )
    organization_label = models.CharField(max_length=200, null=True, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
        db_index=False,  # `event_of_actor` is of those that have one
    )
    actor_label = models.CharField(max_length=200, null=True, blank=True)
    reason = models.TextField(_("reason"), null=True, blank=True)
    ticket = models.CharField(_("ticket"), max_length=100, null=True, blank=True)

    livemode = models.BooleanField(null=True, blank=True)
    stripe_event_id = models.CharField(_("Stripe event"), max_length=255, null=True, blank=True, unique=True)
    stripe_object_id = models.CharField(_("Stripe object"), max_length=255, null=True, blank=True)
    stripe_customer_id = models.CharField(_("Stripe customer"), max_length=255, null=True, blank=True)
    stripe_subscription_id = models.CharField(_("Stripe subscription"), max_length=255, null=True, blank=True)
    stripe_invoice_id = models.CharField(_("Stripe invoice"), max_length=255, null=True, blank=True)
    stripe_charge_id = models.CharField(_("Stripe charge"), max_length=255, null=True, blank=True)
    stripe_refund_id = models.CharField(_("Stripe refund"), max_length=255, null=True, blank=True)
    stripe_request_id = models.CharField(_("Stripe request"), max_length=255, null=True, blank=True)
    idempotency_key = models.CharField(
        _("idempotency key"),
        max_length=255,
        null=True,
        blank=True,
        help_text=_("Of the request that caused this event; it begins with our operation's own id."),
    )

    amount = models.BigIntegerField(_("amount"), null=True, blank=True)
    currency = models.CharField(_("currency"), max_length=3, null=True, blank=True)
    status = models.CharField(_("status after"), max_length=40, null=True, blank=True)
    previous_status = models.CharField(_("status before"), max_length=40, null=True, blank=True)
    quantity = models.BigIntegerField(_("quantity after"), null=True, blank=True)
    previous_quantity = models.BigIntegerField(_("quantity before"), null=True, blank=True)

    before = models.JSONField(_("before"), null=True, blank=True)
    plan = models.JSONField(_("what was intended"), null=True, blank=True)
    after = models.JSONField(_("after"), null=True, blank=True)
    message = models.TextField(_("what happened"), null=True, blank=True)
    lock_key = models.CharField(
        max_length=300,
        null=True,
        blank=True,
        help_text=_("What nobody else may change while this is pending, such as one subscription."),
    )
    objects_to_read = ArrayField(
        models.CharField(max_length=255),
        null=True,
        blank=True,
        help_text=_("Stripe ids that are read again because of this event; once all were, it is done."),
    )

    # -- processing: moves -----------------------------------------------------------------------------
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.PENDING)
    # Raised by whoever takes the row over, so that a process that was thought dead cannot close it any more.
    claim = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    processed_at = models.DateTimeField(_("settled"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True)
    traceback = models.TextField(_("traceback"), blank=True)

    PROCESSING_COLUMNS = (
        "state",
        "claim",
        "attempts",
        "next_attempt_at",
        "processed_at",
        "error",
        "traceback",
    )

    class Meta:
        verbose_name = _("subscription event")
        verbose_name_plural = _("subscription events")
        ordering = ["-id"]
        permissions = [
            ("view_traceback", _("Can see what went wrong inside: tracebacks and raw errors")),
            ("reprocess_event", _("Can process an event of Stripe's again")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["lock_key"], condition=Q(state="pending"), name="one_pending_change_at_a_time"
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="event_organization"),
            models.Index(fields=["type", "-id"], name="event_type"),
            # The newest act under a lock, asked for twice by every operation.
            models.Index(
                fields=["lock_key", "-id"], condition=Q(lock_key__isnull=False), name="event_of_lock"
            ),
            # Where days are found. Rows are told of nearly in the order in which they happened; those that Stripe
            # was asked for later are few, and are looked for apart.
            models.Index(Coalesce("occurred_at", "created_at"), "id", name="event_happened"),
            models.Index(
                Coalesce("occurred_at", "created_at"),
                "id",
                condition=Q(recovered=True),
                name="event_recovered",
            ),
            # What people look for among ten million deliveries: what we did, and who did it.
            models.Index(
                fields=["source", "-id"], condition=Q(source__in=["staff", "system"]), name="event_of_ours"
            ),
            models.Index(fields=["actor", "-id"], condition=Q(actor__isnull=False), name="event_of_actor"),
            # For whoever pastes an id; most rows hold only one or two of them.
            *(
                models.Index(
                    fields=[f"stripe_{kind}_id", "-id"],
                    condition=Q(**{f"stripe_{kind}_id__isnull": False}),
                    name=f"event_of_{kind}",
                )
                for kind in ("customer", "subscription", "invoice", "charge", "refund", "object", "request")
            ),
            models.Index(
                fields=["stripe_customer_id", "id"],
                condition=Q(state__in=["pending", "failed"], source="stripe"),
                name="event_waiting",
            ),
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state="pending", next_attempt_at__isnull=False),
                name="event_unsettled",
            ),
            models.Index(
                fields=["state", "-id"],
                condition=Q(state__in=["pending", "failed", "parked", "ignored"]),
                name="event_not_done",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} #{self.pk}"


class EventPayload(models.Model):
    """The body of a webhook as Stripe sent it. Only the retention command deletes one, and says so in the ledger.

    Text and not jsonb: PostgreSQL's jsonb cannot hold the `\\u0000` that a customer's metadata may hold.
    """

    event = models.OneToOneField(
        SubscriptionEvent, on_delete=models.PROTECT, primary_key=True, related_name="payload"
    )
    body = models.TextField()

    class Meta:
        verbose_name = _("payload")
        verbose_name_plural = _("payloads")

    def __str__(self) -> str:
        return f"payload of {self.event_id}"


class OperationStep(models.Model):
    """One call to Stripe of a staff operation: written before it is sent, answered once."""

    event = models.ForeignKey(SubscriptionEvent, on_delete=models.PROTECT, related_name="steps")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=40)
    method = models.CharField(max_length=6)
    path = models.CharField(max_length=300)
    params = models.JSONField(default=dict)
    required = models.BooleanField(
        db_default=True,
        default=True,
        help_text=_("Whether a refusal by Stripe ends the operation; else it is kept as the answer."),
    )
    sent_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    answer = models.JSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)

    class Meta:
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        ordering = ["event_id", "position"]
        constraints = [models.UniqueConstraint(fields=["event", "position"], name="one_step_per_position")]

    def __str__(self) -> str:
        return f"{self.event_id}:{self.name}"

    @property
    def idempotency_key(self) -> str:
        """The key Stripe sees: the operation's uuid and the step's name, so that a resend is the same call."""
        return f"{self.event.uuid}:{self.name}"
