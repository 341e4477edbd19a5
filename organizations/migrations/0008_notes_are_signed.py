"""What was written into an organization's one field of notes becomes a note of its own, which nobody signed."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

AT_ONCE = 1_000


def carry_over(apps: Any, schema_editor: Any) -> None:
    """Make a note of every text there is."""
    note_model = apps.get_model("organizations", "Note")
    written = apps.get_model("organizations", "Organization").objects.exclude(notes="").order_by("pk")
    notes = (
        note_model(organization_id=key, text=text)
        for key, text in written.values_list("pk", "notes").iterator(chunk_size=AT_ONCE)
        if text.strip()
    )
    note_model.objects.bulk_create(notes, batch_size=AT_ONCE)


def carry_back(apps: Any, schema_editor: Any) -> None:
    """Put the notes that nobody signed back where they stood."""
    organizations = apps.get_model("organizations", "Organization").objects
    unsigned = apps.get_model("organizations", "Note").objects.filter(author=None)
    for key, text in (
        unsigned.order_by("pk").values_list("organization_id", "text").iterator(chunk_size=AT_ONCE)
    ):
        organizations.filter(pk=key).update(notes=text)
    unsigned.delete()


class Migration(migrations.Migration):
    dependencies = [
        ("organizations", "0007_slug_is_no_key"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            "note",
            "author",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="by",
            ),
        ),
        migrations.RunPython(carry_over, carry_back),
        migrations.RemoveField("organization", "notes"),
    ]
