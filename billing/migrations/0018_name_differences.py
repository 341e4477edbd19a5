"""People read of differences everywhere; only the code calls them discrepancies."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("billing", "0017_fewer_indexes_of_the_ledger")]

    operations = [
        migrations.AlterModelOptions(
            name="discrepancy",
            options={
                "default_permissions": ("view",),
                "ordering": ["-id"],
                "permissions": [("settle_discrepancy", "Can mend, accept and ignore differences to Stripe")],
                "verbose_name": "difference",
                "verbose_name_plural": "differences",
            },
        ),
    ]
