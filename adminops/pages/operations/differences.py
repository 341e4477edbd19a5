"""Where we hold something else than Stripe, in rows and words."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adminops.pages.operations.base import Row
from billing import difference_words
from billing.differences import Differences


def rows(differences: Differences) -> list[Row]:
    """A row for each difference, ours before Stripe's; one that says so where there is none."""
    found = [
        Row(difference_words.name_of(each), difference_words.change_of(each), below=each.id)
        for each in differences.found
    ]
    found += [Row(str(difference_words.MISSING[each.kind]), str(each.n)) for each in differences.missing]
    if differences.detached:
        found.append(Row(_("Payment methods that the customer no longer has"), str(differences.detached)))
    return found or [Row(_("Differences from Stripe"), _("none"))]


def sentences(differences: Differences) -> list[str]:
    """What reading again does, and what follows from it."""
    said = [
        ngettext(
            "What Stripe says replaces what we hold: %(n)d difference.",
            "What Stripe says replaces what we hold: %(n)d differences.",
            differences.number,
        )
        % {"n": differences.number}
        if differences.number
        else _("Nothing differs; reading it again changes nothing.")
    ]
    if differences.lifts_hold:
        said.append(_("Nothing is owed, so the hold for non-payment is lifted."))
    said.append(_("Nothing is changed at Stripe."))
    return said
