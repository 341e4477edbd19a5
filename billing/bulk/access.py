"""To the access of many: suspend, lift holds. Both are told from our own rows, and so is what must still hold."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.bulk import cautions
from billing.bulk.base import Figure, OrganizationsKind, PlannedRow, Selected, changed, with_held
from billing.errors import OperationRefused
from billing.operations.activate import ActivateChoices, ActivatePreview
from billing.operations.base import Choices, Preview
from billing.operations.collection import access_lock
from billing.operations.standing import Standing, StandingOperation, standings_of
from billing.operations.suspend import Invoices, SuspendChoices, SuspendPreview
from organizations.models import Hold, Organization


class _OfOurOwn[ChoicesT: Choices, PreviewT: Preview](OrganizationsKind[ChoicesT, PreviewT]):
    """An operation whose preview asks nobody but our own rows, so that the preview itself is what is agreed to."""

    # Where billing stops or resumes: a look, the change, and the subscription again.
    calls = 3

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
        return PlannedRow(
            selected,
            choices,
            " · ".join(self.in_words(preview)),
            preview.to_dict(),
            tuple(caution for each in standing.subscriptions for caution in cautions.of_subscription(each)),
            {Figure("members"): self.members_concerned(preview)},
        )

    @abstractmethod
    def members_concerned(self, preview: PreviewT) -> int:
        """How many members lose access, or come in again."""

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

    def members_concerned(self, preview: SuspendPreview) -> int:
        return preview.members

    def sums(self, figures: Counter[Figure]) -> list[str]:
        return [_lose_access(figures.total())]

    def in_words(self, preview: SuspendPreview) -> list[str]:
        words = [_lose_access(preview.members)]
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

    def members_concerned(self, preview: ActivatePreview) -> int:
        return preview.members if preview.opens else 0

    def sums(self, figures: Counter[Figure]) -> list[str]:
        return [_come_in(figures.total())]

    def in_words(self, preview: ActivatePreview) -> list[str]:
        lifted = ", ".join(str(Hold.Kind(hold.kind).label).lower() for hold in preview.lifted)
        words = [_("Lifted: %(holds)s") % {"holds": lifted}]
        if preview.opens:
            words.append(_come_in(preview.members))
        else:
            left = ", ".join(str(Hold.Kind(hold.kind).label).lower() for hold in preview.remaining)
            words.append(_("still suspended: %(holds)s") % {"holds": left})
        if preview.resumes:
            words.append(_("billing resumes"))
        return words


def _lose_access(members: int) -> str:
    return ngettext("%(n)s member loses access", "%(n)s members lose access", members) % {
        "n": formats.number_format(members, force_grouping=True)
    }


def _come_in(members: int) -> str:
    return ngettext("%(n)s member comes in again", "%(n)s members come in again", members) % {
        "n": formats.number_format(members, force_grouping=True)
    }
