"""What the back office keeps for itself."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class Counter(models.Model):
    """A counter that forgets itself: the cells of the rate limits, shared by all processes."""

    key = models.CharField(max_length=255, primary_key=True)
    value = models.BigIntegerField()
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="counter_expiry")]

    def __str__(self) -> str:
        return self.key


class SavedView(models.Model):
    """A list as somebody filtered, sorted and searched it, under a name. Its link opens for any colleague."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    model = models.CharField(max_length=100, help_text=_("What is listed, as app_label.model."))
    name = models.CharField(_("name"), max_length=80)
    query = models.CharField(max_length=2000, help_text=_("What follows the question mark of the address."))
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("saved view")
        verbose_name_plural = _("saved views")
        ordering = ["name"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["owner", "model", "name"], name="one_view_per_name_and_owner")
        ]

    def __str__(self) -> str:
        return self.name
