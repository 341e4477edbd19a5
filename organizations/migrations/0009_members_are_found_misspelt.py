"""Members are found by an e-mail that is misspelt before its "@"; what follows is the same for millions."""

from django.db import migrations

# The table is Django's own, so its index is made here.
LOCAL_PART_TRIGRAM = (
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS user_local_part_trigram ON auth_user"
    " USING gin (UPPER(split_part(email::text, '@', 1)) gin_trgm_ops)"
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("organizations", "0008_notes_are_signed"),
    ]

    operations = [
        migrations.RunSQL(LOCAL_PART_TRIGRAM, "DROP INDEX IF EXISTS user_local_part_trigram"),
    ]
