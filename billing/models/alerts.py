"""What a person must look at."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from billing.models.ledger import SubscriptionEvent
from organizations.models import Organization


class Alert(models.Model):
    """Something that a person must look at. Raised once for each thing that is wrong (`billing.alerts`)."""

    class Severity(models.TextChoices):
        LOOK = "look", _("Wants a look")
        TODAY = "today", _("Wants an act today")

    kind = models.CharField(_("kind"), max_length=40)
    key = models.CharField(
        max_length=300, unique=True, help_text=_("What it is about; a second one of the same is not raised.")
    )
    severity = models.CharField(_("severity"), max_length=5, choices=Severity)
    message = models.TextField(_("what happened"))
    organization = models.ForeignKey(
        Organization,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="alerts",
        verbose_name=_("organization"),
    )
    event = models.ForeignKey(
        SubscriptionEvent, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("since"), db_default=Now())
    ended_at = models.DateTimeField(
        _("over since"),
        null=True,
        blank=True,
        help_text=_(
            "When what is watched all the time was well again; while it is not, no second one is raised."
        ),
    )
    mailed_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering = ["-id"]
        permissions = [("acknowledge_alert", _("Can acknowledge alerts"))]
        indexes = [
            models.Index(fields=["-id"], condition=Q(acknowledged_at__isnull=True), name="alert_open"),
            models.Index(fields=["organization", "-id"], name="alert_organization"),
        ]

    def __str__(self) -> str:
        return self.message
