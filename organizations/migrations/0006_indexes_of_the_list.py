"""Indexes for what the list of customers is narrowed by and searched for; made while the tables are in use."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

# Members are found by a part of their e-mail. The table is Django's own, so its index is made here.
EMAIL_TRIGRAM = "CREATE INDEX CONCURRENTLY IF NOT EXISTS user_email_trigram ON auth_user USING gin (UPPER(email) gin_trgm_ops)"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("organizations", "0005_access_tokens"),
    ]

    operations = [
        AddIndexConcurrently(
            "membership", models.Index(fields=["organization", "role"], name="membership_role")
        ),
        AddIndexConcurrently("organization", models.Index(fields=["created_at"], name="org_created")),
        AddIndexConcurrently("organization", models.Index(fields=["seats"], name="org_seats")),
        AddIndexConcurrently(
            "organization",
            models.Index(
                fields=["billing_issue_since"],
                condition=Q(billing_issue_since__isnull=False),
                name="org_billing_issue",
            ),
        ),
        AddIndexConcurrently(
            "organization",
            models.Index(
                fields=["trial_end"], condition=Q(subscription_status="trialing"), name="org_trial_end"
            ),
        ),
        migrations.RunSQL(EMAIL_TRIGRAM, "DROP INDEX IF EXISTS user_email_trigram"),
    ]
