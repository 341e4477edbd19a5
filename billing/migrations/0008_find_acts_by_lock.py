"""An index for the newest act under a lock; made while the table is in use."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("billing", "0007_alerts")]

    operations = [
        AddIndexConcurrently(
            model_name="subscriptionevent",
            index=models.Index(
                condition=models.Q(("lock_key__isnull", False)),
                fields=["lock_key", "-id"],
                name="event_of_lock",
            ),
        )
    ]
