"""Bulk jobs and their rows."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as say
from django.utils.translation import gettext_lazy as _

from billing.models.ledger import SubscriptionEvent
from organizations.models import Organization


class BulkJob(models.Model):
    """One operation on many, agreed to on one page by one person; what becomes of it is told by its rows."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    type = models.CharField(_("operation"), max_length=100)
    asked = models.JSONField(_("what was asked for"), default=dict)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", verbose_name=_("by")
    )
    reason = models.TextField(_("reason"), blank=True)
    ticket = models.CharField(_("ticket"), max_length=100, blank=True)
    created_at = models.DateTimeField(_("started"), db_default=Now())
    stopped_at = models.DateTimeField(_("stopped"), null=True, blank=True)
    stopped_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("stopped by"),
    )

    class Meta:
        verbose_name = _("bulk job")
        verbose_name_plural = _("bulk jobs")
        ordering = ["-id"]
        # Whoever may see the ledger may see these: they say no more than it does.
        default_permissions = ()

    def __str__(self) -> str:
        return say("Bulk job %(number)s") % {"number": self.pk}


class BulkRow(models.Model):
    """One operation of a bulk job. Once attempted, the line of the ledger with its uuid says what became of it."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        REFUSED = "refused", _("Not done")
        ATTEMPTED = "attempted", _("Attempted")

    job = models.ForeignKey(BulkJob, on_delete=models.PROTECT, related_name="rows")
    position = models.PositiveIntegerField()
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    subject_event = models.ForeignKey(
        SubscriptionEvent, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    selected = models.CharField(max_length=255, help_text=_("The key of what was ticked in the list."))
    label = models.CharField(max_length=300)
    choices = models.JSONField(default=dict)
    basis = models.JSONField(default=dict, help_text=_("What it was like when the person agreed."))
    outlook = models.TextField(_("what will happen"))
    operation = models.UUIDField(
        default=uuid.uuid4, unique=True, help_text=_("Its line in the ledger has it too.")
    )

    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    message = models.TextField(_("what happened"), blank=True)
    tries = models.PositiveSmallIntegerField(default=0)
    # Its job in the queue is lost, or was put off, where it still waits after this.
    due_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("row of a bulk job")
        verbose_name_plural = _("rows of bulk jobs")
        ordering = ["job_id", "position"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["job", "position"], name="one_bulk_row_per_position")]
        indexes = [models.Index(fields=["due_at"], condition=Q(state="waiting"), name="bulkrow_waiting")]

    def __str__(self) -> str:
        return self.label
