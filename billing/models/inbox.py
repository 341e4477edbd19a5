"""What is to be read from Stripe, and how many calls that may take."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class CustomerSync(models.Model):
    """What is to be read from Stripe for one customer: lock and inbox in one row (docs/decisions/one-writer.md).

    `objects` maps a Stripe id to `{"version": n, "attempts": n, "due": ISO time or null}`: it is dirty since
    request number `version`. `wanted` counts requests; `done` is the last one after which nothing was dirty.
    """

    customer_id = models.CharField(max_length=255, primary_key=True)
    objects_wanted = models.JSONField(default=dict)
    wanted = models.BigIntegerField(default=0)
    done = models.BigIntegerField(default=0)
    queued_at = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    synced_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    class Meta:
        verbose_name = _("customer sync")
        verbose_name_plural = _("customer syncs")
        indexes = [
            models.Index(
                fields=["next_attempt_at"], condition=Q(wanted__gt=models.F("done")), name="customersync_due"
            )
        ]

    def __str__(self) -> str:
        return self.customer_id


class Watermark(models.Model):
    """Until when something that goes on for ever was done, such as reading Stripe's list of events."""

    name = models.CharField(max_length=40, primary_key=True)
    reached_at = models.DateTimeField()

    class Meta:
        verbose_name = _("watermark")
        verbose_name_plural = _("watermarks")
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class CallBudget(models.Model):
    """The next free slot for a call to Stripe: over all, and for each endpoint (billing/budget.py)."""

    name = models.CharField(max_length=200, primary_key=True)
    free_at = models.DateTimeField()

    class Meta:
        verbose_name = _("call budget")
        verbose_name_plural = _("call budgets")
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
