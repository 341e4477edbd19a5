"""Indexes for what the list of events is narrowed by and searched for; made while the table is in use."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

INDEXES = (
    models.Index(fields=["created_at"], name="event_recorded"),
    models.Index(fields=["source", "-id"], condition=Q(source__in=["staff", "system"]), name="event_of_ours"),
    models.Index(fields=["actor", "-id"], condition=Q(actor__isnull=False), name="event_of_actor"),
    models.Index(
        fields=["stripe_object_id", "-id"],
        condition=Q(stripe_object_id__isnull=False),
        name="event_of_object",
    ),
    models.Index(
        fields=["stripe_request_id", "-id"],
        condition=Q(stripe_request_id__isnull=False),
        name="event_of_request",
    ),
    models.Index(
        fields=["state", "-id"],
        condition=Q(state__in=["pending", "failed", "parked", "ignored"]),
        name="event_not_done",
    ),
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("billing", "0010_stored_figures")]

    operations = [
        *(AddIndexConcurrently(model_name="subscriptionevent", index=index) for index in INDEXES),
        # Served by the last of the new ones.
        RemoveIndexConcurrently(model_name="subscriptionevent", name="event_troubled"),
    ]
