"""Runs of the reconciliation, what is left of each to be read, and where Stripe and we differ."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from billing.models.ledger import SubscriptionEvent
from organizations.models import Organization


class ReconciliationRun(models.Model):
    """One comparison of what Stripe says with what we hold, and what came of it."""

    class Kind(models.TextChoices):
        FULL = "full", _("All organizations")
        INCREMENTAL = "incremental", _("What changed")
        ONE = "one", _("One organization")

    class State(models.TextChoices):
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        STOPPED = "stopped", _("Stopped")
        FAILED = "failed", _("Failed")
        TRIPPED = "tripped", _("Waits for a person")

    class Phase(models.TextChoices):
        READING = "reading", _("Reading from Stripe")
        COMPARING = "comparing", _("Comparing")
        MENDING = "mending", _("Mending")

    kind = models.CharField(_("what"), max_length=11, choices=Kind)
    state = models.CharField(_("state"), max_length=7, choices=State, default=State.RUNNING)
    phase = models.CharField(_("step"), max_length=9, choices=Phase, default=Phase.READING)
    organization = models.ForeignKey(
        Organization,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("organization"),
        help_text=_("Of a run over one organization."),
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("asked for by"),
        help_text=_("Nobody: the timetable, or a command."),
    )
    dry_run = models.BooleanField(
        _("only looks"), default=False, help_text=_("Differences are recorded, and nothing is mended.")
    )
    fixes = ArrayField(
        models.CharField(max_length=40),
        null=True,
        blank=True,
        help_text=_("The types that are mended; those whose policy says so where none are named."),
    )
    max_changes = models.PositiveIntegerField(
        null=True, blank=True, help_text=_("Above so many changes it stops and asks; else a set share.")
    )

    started_at = models.DateTimeField(_("started"), db_default=Now())
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    watermark = models.DateTimeField(
        null=True, blank=True, help_text=_("Stripe's events until then are all in the ledger.")
    )
    agreed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("agreed to by"),
        help_text=_("Who let it go on after it had stopped and asked."),
    )
    agreed_at = models.DateTimeField(null=True, blank=True)
    stopped_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("stopped by"),
    )
    message = models.TextField(_("what happened"), blank=True)
    log = models.JSONField(default=list, help_text=_("Lines of what it did: when, and what."))

    calls = models.PositiveIntegerField(_("calls to Stripe"), default=0)
    objects_read = models.PositiveIntegerField(_("objects read"), default=0)
    organizations = models.PositiveIntegerField(_("organizations compared"), default=0)
    differing = models.PositiveIntegerField(_("organizations that differ"), default=0)
    left_alone = models.PositiveIntegerField(
        _("left alone"),
        default=0,
        help_text=_("Organizations that were being changed or read just then; the next run compares them."),
    )
    errors = models.PositiveIntegerField(_("errors"), default=0)
    found = models.PositiveIntegerField(_("new differences"), default=0)
    fixed = models.PositiveIntegerField(_("mended"), default=0)
    gone = models.PositiveIntegerField(_("gone by themselves"), default=0)
    counts = models.JSONField(default=dict, help_text=_("Differences seen, by type."))

    # Who compares and mends just now; reading is divided into slices, each with a lease of its own.
    lease_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("reconciliation run")
        verbose_name_plural = _("reconciliation runs")
        ordering = ["-id"]
        default_permissions = ("view",)
        permissions = [
            ("start_reconciliation", _("Can start and stop a reconciliation")),
            ("agree_to_reconciliation", _("Can let a reconciliation go on that stopped and asked")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["kind"],
                condition=Q(state="running", kind__in=["full", "incremental"]),
                name="one_running_reconciliation",
            )
        ]
        indexes = [models.Index(fields=["kind", "state", "-id"], name="run_kind_state")]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"

    @property
    def is_by_hand(self) -> bool:
        """Whether it mends what a person chose, and compares nothing else."""
        return self.kind == self.Kind.ONE and self.organization_id is None


class ReconciliationSlice(models.Model):
    """A part of one of Stripe's lists, by when its objects were created, and how far it was read."""

    run = models.ForeignKey(ReconciliationRun, on_delete=models.CASCADE, related_name="slices")
    path = models.CharField(max_length=100)
    since = models.BigIntegerField(
        null=True, help_text=_("Unix seconds; what was created then belongs to it.")
    )
    until = models.BigIntegerField(null=True, help_text=_("Unix seconds; what was created then does not."))
    cursor = models.CharField(max_length=255, blank=True, help_text=_("The last object that was read."))
    pages = models.PositiveIntegerField(default=0)
    objects_read = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    done_at = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    due_at = models.DateTimeField(db_default=Now())
    tries = models.PositiveSmallIntegerField(default=0)
    last_error = models.TextField(blank=True)

    class Meta:
        verbose_name = _("slice of a reconciliation run")
        verbose_name_plural = _("slices of a reconciliation run")
        ordering = ["id"]
        default_permissions = ()
        indexes = [
            models.Index(fields=["run", "due_at"], condition=Q(done_at__isnull=True), name="slice_to_read")
        ]

    def __str__(self) -> str:
        return f"{self.path} of #{self.run_id}"


class DiscrepancyQuerySet(models.QuerySet["Discrepancy"]):
    """Discrepancies, with the cohorts that staff speak of."""

    def open(self) -> DiscrepancyQuerySet:
        """What differs now and nobody settled: not closed, and not to be ignored for now."""
        return self.unsettled().filter(Q(ignored_until__isnull=True) | Q(ignored_until__lte=timezone.now()))

    def unsettled(self) -> DiscrepancyQuerySet:
        """What was not closed, whether or not it is ignored for now."""
        return self.filter(closed_at__isnull=True)

    def ignored(self) -> DiscrepancyQuerySet:
        """What somebody does not want to see for now."""
        return self.unsettled().filter(ignored_until__gt=timezone.now())


class Discrepancy(models.Model):
    """One thing in which Stripe and we differ. Recorded once while it lasts; closed when it is gone or settled."""

    class Closed(models.TextChoices):
        GONE = "gone", _("Gone by itself")
        FIXED = "fixed", _("Mended")
        ACCEPTED = "accepted", _("Accepted")

    type = models.CharField(_("type"), max_length=40, help_text=_("The name of its check."))
    organization = models.ForeignKey(
        Organization,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="discrepancies",
        verbose_name=_("organization"),
        help_text=_("None where Stripe has something that no organization owns."),
    )
    stripe_customer_id = models.CharField(_("Stripe customer"), max_length=255, blank=True)
    stripe_object_id = models.CharField(
        _("Stripe object"), max_length=255, blank=True, help_text=_("What it is about.")
    )
    ours = models.JSONField(_("ours"), null=True, blank=True)
    theirs = models.JSONField(_("Stripe's"), null=True, blank=True)
    amount = models.BigIntegerField(
        _("at stake"), null=True, blank=True, help_text=_("In minor units of the currency.")
    )
    currency = models.CharField(_("currency"), max_length=3, blank=True)

    first_seen_at = models.DateTimeField(_("since"), db_default=Now())
    last_seen_at = models.DateTimeField(_("last seen"), db_default=Now())
    first_run = models.ForeignKey(
        ReconciliationRun, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    last_run = models.ForeignKey(
        ReconciliationRun, on_delete=models.SET_NULL, null=True, blank=True, related_name="seen"
    )
    times_seen = models.PositiveIntegerField(_("seen in runs"), default=1)

    ignored_until = models.DateTimeField(_("ignored until"), null=True, blank=True)
    ignored_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)
    closed_how = models.CharField(_("how"), max_length=8, choices=Closed, blank=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    closed_in = models.ForeignKey(
        ReconciliationRun, on_delete=models.SET_NULL, null=True, blank=True, related_name="closed"
    )
    note = models.TextField(
        _("note"), blank=True, help_text=_("Why it was accepted, or could not be mended.")
    )
    event = models.ForeignKey(
        SubscriptionEvent,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("mended by"),
    )
    undo = models.JSONField(null=True, blank=True, help_text=_("What it was before it was mended."))

    objects = DiscrepancyQuerySet.as_manager()

    class Meta:
        verbose_name = _("difference")
        verbose_name_plural = _("differences")
        ordering = ["-id"]
        default_permissions = ("view",)
        permissions = [("settle_discrepancy", _("Can mend, accept and ignore differences to Stripe"))]
        constraints = [
            models.UniqueConstraint(
                fields=["type", "organization", "stripe_object_id"],
                condition=Q(closed_at__isnull=True, organization__isnull=False),
                name="one_open_discrepancy",
            ),
            models.UniqueConstraint(
                fields=["type", "stripe_object_id"],
                condition=Q(closed_at__isnull=True, organization__isnull=True),
                name="one_open_discrepancy_of_nobody",
            ),
        ]
        indexes = [
            models.Index(
                fields=["organization"], condition=Q(closed_at__isnull=True), name="discrepancy_open"
            ),
            models.Index(fields=["type", "-id"], name="discrepancy_type"),
        ]

    def __str__(self) -> str:
        return f"{self.type} #{self.pk}"


class OrganizationCheck(models.Model):
    """When an organization was last compared with Stripe, and what its columns were by then.

    While neither they nor what the mirror holds have changed since, there is nothing new to compare.
    """

    organization = models.OneToOneField(
        Organization, on_delete=models.CASCADE, primary_key=True, related_name="check_of_stripe"
    )
    stripe_customer_id = models.CharField(max_length=255, db_index=True)
    checked_at = models.DateTimeField(_("last compared"))
    is_stale = models.BooleanField(
        default=False,
        help_text=_("Whether the mirror was changed since by a run, and not by the customer's sync."),
    )
    digest = models.CharField(max_length=32, help_text=_("Of the organization's columns as they were then."))

    class Meta:
        verbose_name = _("check of an organization")
        verbose_name_plural = _("checks of organizations")
        default_permissions = ()

    def __str__(self) -> str:
        return f"check of {self.organization_id}"
