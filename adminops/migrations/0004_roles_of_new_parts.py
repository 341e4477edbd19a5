"""What the roles that came ready may do with reconciliation and access tokens, where nobody has taken roles away."""

from typing import Any

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

LOOKS = ("billing.view_reconciliationrun", "billing.view_discrepancy")
SETTLES = (*LOOKS, "billing.start_reconciliation", "billing.settle_discrepancy")
GRANTED = {
    "Support": LOOKS,
    "Finance": SETTLES,
    "Administrator": (
        *SETTLES,
        "billing.agree_to_reconciliation",
        "organizations.view_accesstoken",
        "organizations.add_accesstoken",
        "organizations.change_accesstoken",
    ),
}


def grant(apps: Any, schema_editor: Any) -> None:
    for label in ("billing", "organizations"):
        create_permissions(installed.get_app_config(label), apps=apps, verbosity=0)
    permissions = apps.get_model("auth", "Permission").objects
    for group in apps.get_model("auth", "Group").objects.filter(name__in=GRANTED):
        for name in GRANTED[group.name]:
            app_label, codename = name.split(".")
            group.permissions.add(permissions.get(content_type__app_label=app_label, codename=codename))


class Migration(migrations.Migration):
    dependencies = [
        ("adminops", "0003_saved_views"),
        ("billing", "0010_stored_figures"),
        ("organizations", "0005_access_tokens"),
    ]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
