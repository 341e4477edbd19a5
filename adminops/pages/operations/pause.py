"""Pause and resume collection: what is asked and what is shown. The doing is `billing.operations.pause`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adminops.pages import words
from adminops.pages.operations.base import OperationPage, Row
from adminops.pages.operations.days import DayField
from adminops.pages.operations.forms import OptionalReasonForm, ReasonForm
from billing.money import format_money
from billing.operations import OPERATIONS
from billing.operations.collection import Behavior, Due
from billing.operations.pause import PauseChoices, PausePreview, ResumePreview
from billing.operations.subscription import SubscriptionChoices
from billing.projection import from_unix
from organizations.models import Organization


class PauseForm(ReasonForm):
    """What becomes of invoices, until when, and why."""

    behavior = forms.ChoiceField(
        label=gettext_lazy("Invoices that fall due meanwhile"),
        choices=Behavior.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose what becomes of invoices that fall due meanwhile."),
            "invalid_choice": gettext_lazy("Choose what becomes of invoices that fall due meanwhile."),
        },
    )
    resumes_at = DayField(
        label=gettext_lazy("Collect again from"),
        help_text=gettext_lazy("By itself, at the beginning of that day. Empty: until somebody resumes."),
    )


class PausePage(OperationPage[Organization, PauseChoices, PausePreview]):
    """No collection for a while; access stays."""

    operation = OPERATIONS["pause_collection"]
    form_class = PauseForm
    previews_at_once = True
    previewed_fields = ("behavior", "resumes_at")

    def facts(self) -> list[str]:
        return [_("The subscription goes on, and members keep their access: this is no suspension.")]

    def initial(self) -> dict[str, Any]:
        return {"behavior": Behavior.KEEP_AS_DRAFT}

    def choices(self, cleaned: dict[str, Any]) -> PauseChoices:
        return PauseChoices(
            subscription=cleaned.get("subscription", ""),
            behavior=cleaned["behavior"],
            resumes_at=cleaned["resumes_at"],
        )

    def rows(self, preview: PausePreview) -> list[Row]:
        rows = [
            Row(
                _("Invoice of %(day)s") % {"day": words.short_date(renewal.at)},
                format_money(renewal.amount, preview.currency),
                below=_("will not be collected"),
            )
            for renewal in preview.renewals
        ]
        if preview.has_more_renewals:
            until = _until(preview) or _("until somebody resumes")
            rows.append(Row(_("Every invoice after that"), until, below=_("will not be collected")))
        return rows + [
            due_row(
                invoice,
                _("was issued before, so Stripe goes on collecting it")
                if invoice.is_collected
                else _("Stripe has stopped collecting it by itself; it stays as it is"),
            )
            for invoice in preview.open_invoices
        ]

    def sentences(self, preview: PausePreview) -> list[str]:
        said = []
        if not preview.renewals:
            said.append(_("No renewal falls due in this time."))
        said.append(
            {
                Behavior.KEEP_AS_DRAFT: _(
                    "Invoices that fall due stay drafts, and are not issued by themselves later."
                ),
                Behavior.VOID: _("Invoices that fall due are voided: the customer never owes them."),
                Behavior.UNCOLLECTIBLE: _(
                    "Invoices that fall due are written off as uncollectible: owed, but not collected."
                ),
            }[Behavior(preview.behavior)]
        )
        day = from_unix(preview.resumes_at)
        said.append(
            _("Stripe collects again by itself from %(day)s.") % {"day": words.short_date(day)}
            if day
            else _("Nothing is collected until somebody resumes.")
        )
        if self.subject.open_holds().exists():
            said.append(_("Access is closed by a hold, and stays closed."))
        else:
            said.append(_("Members keep their access, and the subscription stays as it is."))
        return said

    def warnings(self, preview: PausePreview) -> list[str]:
        if not preview.drafts:
            return []
        return [
            _("A draft made before (%(which)s) may still be issued and collected; look at it at Stripe.")
            % {"which": ", ".join(_named(draft) for draft in preview.drafts)}
        ]

    def confirm_label(self, preview: PausePreview) -> str:
        until = _until(preview)
        return _("Pause collection %(until)s") % {"until": until} if until else _("Pause collection")


class ResumePage(OperationPage[Organization, SubscriptionChoices, ResumePreview]):
    """Collection goes on."""

    operation = OPERATIONS["resume_collection"]
    form_class = OptionalReasonForm
    previews_at_once = True

    def choices(self, cleaned: dict[str, Any]) -> SubscriptionChoices:
        return SubscriptionChoices(subscription=cleaned.get("subscription", ""))

    def rows(self, preview: ResumePreview) -> list[Row]:
        rows = []
        if preview.next_invoice:
            rows.append(
                Row(
                    _("Next invoice, on %(day)s") % {"day": words.short_date(preview.next_invoice.at)},
                    format_money(preview.next_invoice.amount, preview.currency),
                    below=_("will be collected"),
                )
            )
        return rows + [due_row(draft, _("a draft that is not issued by itself")) for draft in preview.drafts]

    def sentences(self, preview: ResumePreview) -> list[str]:
        until = from_unix(preview.pause.get("resumes_at"))
        said = []
        if preview.paused_by:
            said.append(_("Collection was paused by %(who)s.") % {"who": preview.paused_by})
        else:
            said.append(_("Collection was not paused from here, but at Stripe."))
        if until:
            said.append(_("It would resume by itself on %(day)s.") % {"day": words.short_date(until)})
        if not preview.next_invoice:
            said.append(_("No further invoice is expected."))
        return said

    def warnings(self, preview: ResumePreview) -> list[str]:
        found = []
        if preview.is_of_suspension:
            found.append(
                _(
                    "A suspension stopped billing. With this Stripe bills again, also while members have no access:"
                    " lifting the hold does both."
                )
            )
        if preview.drafts:
            found.append(
                _(
                    "Drafts that waited are not issued by themselves. Issue those that are to be paid at Stripe, and"
                    " delete or void the others."
                )
            )
        return found

    def confirm_label(self, preview: ResumePreview) -> str:
        return _("Resume collection")


def due_row(invoice: Due, below: str) -> Row:
    """An invoice that is there already, and what becomes of it."""
    label = _("Invoice %(number)s") % {"number": invoice.number} if invoice.number else _("Draft invoice")
    return Row(label, format_money(invoice.amount, invoice.currency), below=below)


def _named(invoice: Due) -> str:
    return format_money(invoice.amount, invoice.currency)


def _until(preview: PausePreview) -> str:
    day = from_unix(preview.resumes_at)
    return _("until %(day)s") % {"day": words.short_date(day)} if day else ""
