"""The roles that come ready: Support, Finance and Administrator. Groups like any other, to be edited freely."""

from typing import Any

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

SEEN_BY_STAFF = (
    "organizations.view_organization",
    "organizations.view_membership",
    "organizations.view_hold",
    "billing.view_subscriptionevent",
    "billing.view_eventpayload",
    "billing.view_operationstep",
    "billing.view_alert",
    "billing.acknowledge_alert",
    "billing.view_customersync",
    "djstripe.view_product",
    "djstripe.view_price",
    "djstripe.view_customer",
    "djstripe.view_paymentmethod",
    "djstripe.view_subscription",
    "djstripe.view_subscriptionitem",
    "djstripe.view_paymentintent",
    "djstripe.view_charge",
    "djstripe.view_invoice",
    "djstripe.view_refund",
    "djstripe.view_dispute",
)
SUPPORT = (
    *SEEN_BY_STAFF,
    "organizations.change_organization",
    "organizations.change_seats",
    "organizations.cancel_subscription",
    "organizations.reactivate_subscription",
    "organizations.pause_subscription",
    "organizations.suspend_organization",
    "organizations.refund_invoice",
    "organizations.resync_organization",
    "organizations.apply_discount",
    "organizations.create_portal_session",
    "billing.reprocess_event",
)
FINANCE = (
    *SEEN_BY_STAFF,
    "organizations.change_organization",
    "organizations.refund_invoice",
    "organizations.apply_discount",
    "organizations.resync_organization",
    "organizations.create_portal_session",
)
ADMINISTRATOR = (
    *SUPPORT,
    "organizations.place_legal_hold",
    "billing.view_traceback",
    "auth.view_user",
    "auth.add_user",
    "auth.change_user",
    "auth.view_group",
    "auth.change_group",
)
ROLES = {"Support": SUPPORT, "Finance": FINANCE, "Administrator": ADMINISTRATOR}


def make_roles(apps: Any, schema_editor: Any) -> None:
    """Permissions are made after all migrations otherwise, which is too late for whoever wants to grant them."""
    for label in {name.split(".")[0] for names in ROLES.values() for name in names}:
        create_permissions(installed.get_app_config(label), apps=apps, verbosity=0)
    group_model, permission_model = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for role, names in ROLES.items():
        group, _is_new = group_model.objects.get_or_create(name=role)
        for name in names:
            app_label, codename = name.split(".")
            group.permissions.add(
                permission_model.objects.get(content_type__app_label=app_label, codename=codename)
            )


class Migration(migrations.Migration):
    dependencies = [
        ("adminops", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("billing", "0007_alerts"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("djstripe", "0003_2_11"),
        ("organizations", "0002_permissions_of_operations"),
    ]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
