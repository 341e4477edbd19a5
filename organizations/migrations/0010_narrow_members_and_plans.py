"""Indexes for what members are narrowed by, and organizations by plan and currency; made while the tables are in use."""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("organizations", "0009_members_are_found_misspelt")]

    operations = [
        AddIndexConcurrently(
            "membership", models.Index(fields=["status", "-id"], name="membership_of_status")
        ),
        AddIndexConcurrently("membership", models.Index(fields=["role", "-id"], name="membership_of_role")),
        AddIndexConcurrently("organization", models.Index(fields=["currency", "name"], name="org_currency")),
        AddIndexConcurrently(
            "organization", GinIndex(OpClass(Upper("plan"), name="gin_trgm_ops"), name="org_plan_trigram")
        ),
    ]
