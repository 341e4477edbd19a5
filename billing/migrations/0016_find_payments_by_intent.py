"""Payments are found by the payment intent they belong to, which is what people paste."""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("billing", "0015_road_watch_and_retention"),
    ]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS djstripe_charge_bo_intent ON djstripe_charge (bo_intent)",
            "DROP INDEX IF EXISTS djstripe_charge_bo_intent",
        ),
    ]
