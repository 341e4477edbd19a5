"""Indexes for the days of events, instead of one for when they were recorded; made while the table is in use."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

INDEXES = (
    models.Index(Coalesce("occurred_at", "created_at"), F("id"), name="event_happened"),
    models.Index(
        Coalesce("occurred_at", "created_at"), F("id"), condition=Q(recovered=True), name="event_recovered"
    ),
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("billing", "0013_metric_samples")]

    operations = [
        *(AddIndexConcurrently(model_name="subscriptionevent", index=index) for index in INDEXES),
        RemoveIndexConcurrently(model_name="subscriptionevent", name="event_recorded"),
    ]
