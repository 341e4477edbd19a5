"""Figures that a job adds up now and then, because no page may take the time to."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class StoredFigures(models.Model):
    """Some figures under a name, as of a moment (`billing.figures`)."""

    name = models.CharField(max_length=40, primary_key=True)
    value = models.JSONField()
    computed_at = models.DateTimeField()

    class Meta:
        verbose_name = _("stored figures")
        verbose_name_plural = _("stored figures")
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
