"""What staff keep of a customer themselves, its name and billing address; the ledger has each change of them."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.text import capfirst, get_text_list
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.ledger import record_staff_act
from billing.models import SubscriptionEvent
from billing.operations.base import Told
from organizations.models import Organization

DETAILS_CHANGED = "organization.details_changed"

# In the order in which they are told: a document in the database has one of its own.
DETAILS = {"name": gettext_lazy("name"), "billing_email": gettext_lazy("billing e-mail")}


def change_details(organization: Organization, actor: User) -> SubscriptionEvent | None:
    """Save the details that were set on `organization`, and nothing else of it, with a line in the ledger.

    Returns None, and writes nothing, where they are as they were.
    """
    with transaction.atomic():
        kept = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        changed = [name for name in DETAILS if getattr(kept, name) != getattr(organization, name)]
        if not changed:
            return None
        # The other columns are the sync's, which may have written them since this row was read.
        organization.save(update_fields=changed)
        before = {name: getattr(kept, name) for name in changed}
        after = {name: getattr(organization, name) for name in changed}
        return record_staff_act(
            DETAILS_CHANGED,
            actor,
            capfirst(f"{_in_words(before, after)}."),
            organization=organization,
            before=before,
            after=after,
        )


def erase_details(organization: Organization) -> int:
    """Take what its details were off the lines that tell of them; the caller has the database permit it.

    Returns how many lines there were. That they were changed, when and by whom stays.
    """
    lines = SubscriptionEvent.objects.filter(organization=organization, type=DETAILS_CHANGED)
    return lines.update(before={}, after={}, message=_("Changed details that were erased since."))


def retell(event: SubscriptionEvent) -> Told:
    """What was changed into what, unless it was erased since."""
    if not event.after:
        return Told(_("changed details that were erased since"))
    return Told(_in_words(event.before or {}, event.after or {}))


def _in_words(before: dict[str, str], after: dict[str, str]) -> str:
    changes = [
        _("the %(detail)s %(before)s → %(after)s")
        % {
            "detail": label,
            "before": before[name] or _("none"),
            "after": after[name] or _("none"),
        }
        for name, label in DETAILS.items()
        if name in after
    ]
    return _("changed %(changes)s") % {"changes": get_text_list(changes, _("and"))}
