"""No slug is taken for an organization's number or its Stripe customer; those that could be get another."""

from typing import Any

from django.db import migrations, models

LENGTH = 80


def rename(apps: Any, schema_editor: Any) -> None:
    """ "2024" becomes "org-2024", with the next free number behind it where that is taken."""
    organizations = apps.get_model("organizations", "Organization").objects
    for organization in organizations.filter(slug__regex=r"^([0-9]+|cus_.*)$").order_by("pk").iterator():
        wanted = slug = f"org-{organization.slug}"[:LENGTH]
        number = 1
        while organizations.filter(slug=slug).exists():
            number += 1
            slug = f"{wanted[: LENGTH - len(str(number)) - 1]}-{number}"
        organizations.filter(pk=organization.pk).update(slug=slug)


class Migration(migrations.Migration):
    dependencies = [("organizations", "0006_indexes_of_the_list")]

    operations = [
        migrations.RunPython(rename, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(("slug__regex", "^([0-9]+|cus_.*)$"), _negated=True),
                name="slug_is_no_key",
                violation_error_message="A slug cannot be made only of digits, or begin with “cus_”.",
            ),
        ),
    ]
