"""An index for who has, or lacks, a member of a role, in place of a wider one; made while the table is in use."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("organizations", "0010_narrow_members_and_plans")]

    operations = [
        AddIndexConcurrently(
            "membership",
            models.Index(
                condition=models.Q(("status", "active")),
                fields=["role", "organization"],
                name="membership_active_role",
            ),
        ),
        RemoveIndexConcurrently("membership", "membership_role"),
    ]
