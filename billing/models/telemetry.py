"""What is counted for those who watch the machines."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class MetricSample(models.Model):
    """A sum that only grows, under its name and labels as Prometheus writes them (`billing.telemetry`)."""

    sample = models.CharField(max_length=300, primary_key=True)
    # Counts, and seconds added up; no money.
    value = models.FloatField()

    class Meta:
        verbose_name = _("metric sample")
        verbose_name_plural = _("metric samples")
        default_permissions = ()

    def __str__(self) -> str:
        return self.sample
