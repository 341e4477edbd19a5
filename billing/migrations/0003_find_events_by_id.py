"""Indexes for whoever pastes a Stripe id; partial, because most rows hold only one or two of them."""

from django.db import migrations, models

KINDS = ("customer", "subscription", "invoice", "charge", "refund")


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_ledger_guard")]

    operations = [
        migrations.AddIndex(
            model_name="subscriptionevent",
            index=models.Index(
                fields=[f"stripe_{kind}_id", "-id"],
                condition=models.Q((f"stripe_{kind}_id__isnull", False)),
                name=f"event_of_{kind}",
            ),
        )
        for kind in KINDS
    ]
