"""Suspend, and lift holds: what is asked and shown. The doing is `billing.operations.suspend` and `activate`."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages import words
from adminops.pages.operations.base import OperationPage, Row
from adminops.pages.operations.days import DayField
from adminops.pages.operations.forms import ReasonForm
from adminops.pages.operations.pause import due_row
from billing import mirror
from billing.actors import person_name
from billing.money import format_money
from billing.operations import OPERATIONS
from billing.operations.activate import ActivateChoices, ActivatePreview, HoldShown
from billing.operations.collection import Due
from billing.operations.subscription import live_subscriptions
from billing.operations.suspend import (
    LEGAL_PERMISSION,
    Billed,
    Billing,
    Invoices,
    SuspendChoices,
    SuspendPreview,
)
from billing.projection import from_unix
from organizations.models import Hold, Organization


class SuspendForm(ReasonForm):
    """Which hold, until when, what it means for billing, and why."""

    kind = forms.ChoiceField(
        label=gettext_lazy("Kind of hold"),
        choices=Hold.Kind.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose what kind of hold it is."),
            "invalid_choice": gettext_lazy("Choose one of the kinds of hold that you may place."),
        },
    )
    ends_at = DayField(
        label=gettext_lazy("Ends on"),
        help_text=gettext_lazy("By itself, at the beginning of that day. Empty: until somebody lifts it."),
    )
    billing = forms.ChoiceField(
        label=gettext_lazy("Billing meanwhile"),
        choices=Billing.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose whether billing continues."),
            "invalid_choice": gettext_lazy("Choose whether billing continues."),
        },
    )
    invoices = forms.ChoiceField(
        label=gettext_lazy("Invoices that are open already"),
        choices=Invoices.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose what becomes of the open invoices."),
            "invalid_choice": gettext_lazy("Choose what becomes of the open invoices."),
        },
    )


class SuspendPage(OperationPage[Organization, SuspendChoices, SuspendPreview]):
    """Members are locked out."""

    operation = OPERATIONS["suspend_organization"]
    form_class = SuspendForm
    previewed_fields = ("kind", "ends_at", "billing", "invoices")

    def facts(self) -> list[str]:
        return [
            _("Access closes at once; the subscription stays as it is."),
            *(
                _("Suspended already: %(kind)s, “%(reason)s”.")
                % {"kind": hold.get_kind_display().lower(), "reason": hold.reason}
                for hold in self.subject.open_holds()
            ),
        ]

    def initial(self) -> dict[str, Any]:
        return {"billing": Billing.CONTINUES, "invoices": Invoices.LEAVE}

    def form(self, data: Any = None) -> forms.Form:
        """Asks only what there is to be decided, by this person."""
        form = super().form(data)
        if not self.user.has_perm(LEGAL_PERMISSION):
            kinds = [each for each in Hold.Kind.choices if each[0] != Hold.Kind.LEGAL]
            cast("forms.ChoiceField", form.fields["kind"]).choices = kinds
        if not live_subscriptions(self.subject):
            del form.fields["billing"]
        customer = self.subject.stripe_customer_id
        if not customer or not mirror.open_invoices_of(customer):
            del form.fields["invoices"]
        return form

    def choices(self, cleaned: dict[str, Any]) -> SuspendChoices:
        return SuspendChoices(
            kind=cleaned["kind"],
            ends_at=cleaned["ends_at"],
            billing=cleaned.get("billing", Billing.CONTINUES.value),
            invoices=cleaned.get("invoices", Invoices.LEAVE.value),
        )

    def rows(self, preview: SuspendPreview) -> list[Row]:
        members = Row(
            _("Members who lose access"),
            str(preview.members),
            below=_("other holds have closed it already") if preview.held_by else "",
            is_sum=True,
        )
        return [
            members,
            *(_renewal_row(each, preview.stops_billing) for each in preview.subscriptions if each.renews_at),
            *(due_row(invoice, _closing(invoice, preview)) for invoice in preview.open_invoices),
        ]

    def sentences(self, preview: SuspendPreview) -> list[str]:
        day = from_unix(preview.ends_at)
        said = [
            _("The hold ends by itself on %(day)s.") % {"day": words.short_date(day)}
            if day
            else _("The hold stays until somebody lifts it.")
        ]
        if preview.to_pause:
            said.append(_("Until then Stripe voids what falls due."))
        elif preview.subscriptions and not preview.stops_billing:
            said.append(_("Stripe goes on billing."))
        return said

    def warnings(self, preview: SuspendPreview) -> list[str]:
        found = []
        others = [each for each in preview.subscriptions if each.is_paused and not each.is_paused_by_us]
        if preview.stops_billing and others:
            found.append(
                _(
                    "Collection was paused before, and not by a suspension. That pause is left as it is, and lifting"
                    " the hold will not end it."
                )
            )
        if preview.stops_billing and preview.open_invoices and not preview.to_close:
            found.append(_("Stopping billing does not touch invoices that are open already."))
        if preview.kind == Hold.Kind.NON_PAYMENT:
            found.append(_("A hold for non-payment lifts by itself as soon as nothing is overdue."))
        return found

    def confirm_label(self, preview: SuspendPreview) -> str:
        if not preview.members:
            return _("Place the hold")
        return ngettext(
            "Suspend: lock out %(n)d member", "Suspend: lock out %(n)d members", preview.members
        ) % {"n": preview.members}


class ActivateForm(ReasonForm):
    """Which holds, and why."""

    holds = forms.MultipleChoiceField(
        label=gettext_lazy("Holds to lift"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": gettext_lazy("Choose at least one hold to lift."),
            "invalid_choice": gettext_lazy("One of these holds is open no longer. Reload the page."),
        },
    )


class ActivatePage(OperationPage[Organization, ActivateChoices, ActivatePreview]):
    """Holds are lifted."""

    operation = OPERATIONS["activate_organization"]
    form_class = ActivateForm
    previews_at_once = True
    previewed_fields = ("holds",)

    @cached_property
    def holds(self) -> list[Hold]:
        return list(self.subject.open_holds().select_related("placed_by").order_by("pk"))

    @cached_property
    def liftable(self) -> list[Hold]:
        """Those that this person may lift."""
        may_all = self.user.has_perm(LEGAL_PERMISSION)
        return [hold for hold in self.holds if may_all or hold.kind != Hold.Kind.LEGAL]

    def refusal(self) -> str | None:
        if self.liftable:
            return None
        return ngettext(
            "The open hold is a legal one, which you may not lift.",
            "All %(n)d open holds are legal ones, which you may not lift.",
            len(self.holds),
        ) % {"n": len(self.holds)}

    def facts(self) -> list[str]:
        return [
            _("The legal hold “%(reason)s” is not yours to lift, so it stays.") % {"reason": hold.reason}
            for hold in self.holds
            if hold not in self.liftable
        ]

    def initial(self) -> dict[str, Any]:
        # A legal hold is lifted by somebody who meant that one.
        return {"holds": [str(hold.pk) for hold in self.liftable if hold.kind != Hold.Kind.LEGAL]}

    def form(self, data: Any = None) -> forms.Form:
        form = super().form(data)
        offered = [(str(hold.pk), _hold_in_words(hold)) for hold in self.liftable]
        cast("forms.MultipleChoiceField", form.fields["holds"]).choices = offered
        return form

    def choices(self, cleaned: dict[str, Any]) -> ActivateChoices:
        return ActivateChoices(holds=sorted(int(pk) for pk in cleaned["holds"]))

    def rows(self, preview: ActivatePreview) -> list[Row]:
        return [
            *(Row(_kind(hold), _("lifted"), below=hold.reason) for hold in preview.lifted),
            *(Row(_kind(hold), _("stays"), below=hold.reason) for hold in preview.remaining),
            Row(_("Members who come in again"), str(preview.members if preview.opens else 0), is_sum=True),
            *(
                Row(
                    _("Invoice of %(day)s, about") % {"day": words.short_date(each.renews_at)},
                    format_money(each.amount, each.currency),
                    below=_("will be collected again"),
                )
                for each in preview.resumed
                if each.renews_at
            ),
        ]

    def sentences(self, preview: ActivatePreview) -> list[str]:
        said = [] if preview.remaining else [_("Access opens at once.")]
        if preview.resumes:
            said.append(_("Stripe bills again from the next invoice on."))
        elif any(hold.stops_billing for hold in (*preview.lifted, *preview.remaining)):
            said.append(_("Billing stays stopped, because a hold that remains stops it."))
        else:
            said.append(_("Nothing is changed about billing."))
        return said

    def warnings(self, preview: ActivatePreview) -> list[str]:
        found = []
        if preview.remaining:
            kinds = ", ".join(_kind(hold).lower() for hold in preview.remaining)
            found.append(_("Access stays closed by what remains: %(kinds)s.") % {"kinds": kinds})
        if preview.paused_by_others:
            found.append(
                _(
                    "Collection is paused, and not by a suspension, so it stays paused. Whoever wants it to go on"
                    " resumes collection by itself."
                )
            )
        return found

    def confirm_label(self, preview: ActivatePreview) -> str:
        count = len(preview.lifted)
        return ngettext("Lift %(n)d hold", "Lift %(n)d holds", count) % {"n": count}


def _renewal_row(subscription: Billed, stops: bool) -> Row:
    if subscription.is_paused:
        who = subscription.paused_by
        below = (
            _("collection is paused already, by %(who)s") % {"who": who}
            if who
            else _("collection is paused already")
        )
    else:
        below = _("will be voided") if stops else _("Stripe goes on collecting")
    day = words.short_date(cast(Any, subscription.renews_at))
    return Row(
        _("Invoice of %(day)s, about") % {"day": day},
        format_money(subscription.amount, subscription.currency),
        below=below,
    )


def _closing(invoice: Due, preview: SuspendPreview) -> str:
    """What becomes of an open invoice."""
    if preview.invoices == Invoices.VOID:
        return _("is voided")
    if preview.invoices == Invoices.WRITE_OFF:
        return _("is written off as uncollectible")
    if invoice.is_collected:
        return _("Stripe goes on collecting it")
    return _("Stripe has stopped collecting it by itself; it stays as it is")


def _kind(hold: HoldShown) -> str:
    return str(Hold.Kind(hold.kind).label)


def _hold_in_words(hold: Hold) -> str:
    told = {
        "kind": hold.get_kind_display(),
        "reason": hold.reason,
        "who": person_name(hold.placed_by) if hold.placed_by else _("the back office"),
        "since": words.short_date(hold.placed_at),
    }
    if hold.ends_at is None:
        return _("%(kind)s: “%(reason)s” (%(who)s, %(since)s; stays until lifted)") % told
    told["ends"] = words.short_date(hold.ends_at)
    return _("%(kind)s: “%(reason)s” (%(who)s, %(since)s; ends by itself on %(ends)s)") % told
