"""To the access of many: suspend, lift holds. Both are told from our own rows, and so is what must still hold."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.bulk.base import OrganizationsKind, PlannedRow, Selected, changed, with_held
from billing.errors import OperationRefused
from billing.operations.activate import ActivateChoices, ActivatePreview
from billing.operations.base import Choices, Preview
from billing.operations.collection import access_lock
from billing.operations.standing import Standing, StandingOperation, standings_of
from billing.operations.suspend import Invoices, SuspendChoices, SuspendPreview
from organizations.models import Hold, Organization


class _OfOurOwn[ChoicesT: Choices, PreviewT: Preview](OrganizationsKind[ChoicesT, PreviewT]):
    """An operation whose preview asks nobody but our own rows, so that the preview itself is what is agreed to."""

    @abstractmethod
    def choices_for(self, standing: Standing, asked: dict[str, Any]) -> ChoicesT:
        """What is chosen for this one. Raises OperationRefused."""

    @abstractmethod
    def in_words(self, preview: PreviewT) -> list[str]:
        """What will happen to it, in a few words each."""

    def selected(self, keys: Sequence[str]) -> list[Selected[Organization]]:
        """With how each stands, and whose act on its access is in progress."""
        chosen = super().selected(keys)
        standings = standings_of([each.subject for each in chosen])
        read = [replace(each, standing=standings[each.subject.pk]) for each in chosen]
        return with_held(read, lambda each: access_lock(each.subject))

    def planned(self, selected: Selected[Organization], asked: dict[str, Any]) -> PlannedRow:
        subject, standing = selected.subject, selected.standing
        if standing is None:
            raise AssertionError("it is read with what was ticked")
        if selected.held:
            raise OperationRefused(selected.held)
        choices = self.choices_for(standing, asked)
        operation = cast("StandingOperation[ChoicesT, PreviewT]", self.operation)
        preview = operation.preview_of(subject, standing, choices, int(timezone.now().timestamp()))
        return PlannedRow(selected, choices, " · ".join(self.in_words(preview)), preview.to_dict())

    def hold(
        self, basis: dict[str, Any], subject: Organization, choices: ChoicesT, preview: PreviewT
    ) -> None:
        if preview.to_dict() != basis:
            raise OperationRefused(changed())


class SuspendMany(_OfOurOwn[SuspendChoices, SuspendPreview]):
    """One kind of hold on each."""

    type = "suspend_organization"

    def choices_for(self, standing: Standing, asked: dict[str, Any]) -> SuspendChoices:
        return SuspendChoices(
            kind=asked["kind"],
            ends_at=asked["ends_at"],
            billing=asked["billing"],
            invoices=asked["invoices"],
        )

    def in_words(self, preview: SuspendPreview) -> list[str]:
        words = [
            ngettext("%(n)d member loses access", "%(n)d members lose access", preview.members)
            % {"n": preview.members}
        ]
        if preview.to_pause:
            words.append(_("billing stops"))
        elif preview.subscriptions:
            words.append(_("billing goes on as it is"))
        if preview.open_invoices:
            sentence = {
                Invoices.LEAVE.value: ngettext(
                    "Stripe goes on collecting %(n)d open invoice",
                    "Stripe goes on collecting %(n)d open invoices",
                    len(preview.open_invoices),
                ),
                Invoices.VOID.value: ngettext(
                    "%(n)d open invoice is voided",
                    "%(n)d open invoices are voided",
                    len(preview.open_invoices),
                ),
                Invoices.WRITE_OFF.value: ngettext(
                    "%(n)d open invoice is written off",
                    "%(n)d open invoices are written off",
                    len(preview.open_invoices),
                ),
            }[preview.invoices]
            words.append(sentence % {"n": len(preview.open_invoices)})
        return words


class ActivateMany(_OfOurOwn[ActivateChoices, ActivatePreview]):
    """The open holds of the chosen kinds."""

    type = "activate_organization"

    def choices_for(self, standing: Standing, asked: dict[str, Any]) -> ActivateChoices:
        holds = [hold.pk for hold in standing.open_holds if hold.kind in asked["kinds"]]
        if not holds:
            raise OperationRefused(_("No hold of these kinds is open."))
        return ActivateChoices(holds=holds)

    def in_words(self, preview: ActivatePreview) -> list[str]:
        lifted = ", ".join(str(Hold.Kind(hold.kind).label).lower() for hold in preview.lifted)
        words = [_("Lifted: %(holds)s") % {"holds": lifted}]
        if preview.opens:
            words.append(
                ngettext("%(n)d member comes in again", "%(n)d members come in again", preview.members)
                % {"n": preview.members}
            )
        else:
            left = ", ".join(str(Hold.Kind(hold.kind).label).lower() for hold in preview.remaining)
            words.append(_("still suspended: %(holds)s") % {"holds": left})
        if preview.resumes:
            words.append(_("billing resumes"))
        return words
