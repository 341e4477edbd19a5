"""Notes: what colleagues wrote down about a customer, pinned ones first; mended by their author for ten minutes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from billing.actors import person_name
from organizations.models import Note, Organization

MAY_SEE, MAY_ADD = "organizations.view_note", "organizations.add_note"
URL_NAME = "organizations_organization_note"

MENDED_WITHIN = timedelta(minutes=10)
NOTES_SHOWN = 10


@dataclass(frozen=True)
class NoteRow:
    """A note as one person sees it: with what this person may do about it."""

    note: Note
    by: str
    edit_url: str
    """Where it is mended; empty for whoever may not, or may not any more."""
    pin_url: str
    """Where it is pinned, or let go; empty for whoever may not."""


class Notes:
    """The notes on one customer for one reader, the first of them, or those that are older than a given one."""

    def __init__(self, organization: Organization, user: Any) -> None:
        self.organization = organization
        self.user = user
        self.is_shown: bool = user.has_perm(MAY_SEE)
        self.may_add: bool = user.has_perm(MAY_ADD)

    @cached_property
    def _read(self) -> list[Note]:
        """One more than is shown, so that it is noticed; however many there are, no more is read."""
        if not self.is_shown:
            return []
        return list(notes_of(self.organization).order_by("-pinned", "-pk")[: NOTES_SHOWN + 1])

    @cached_property
    def rows(self) -> list[NoteRow]:
        """Those that stand on the customer page, pinned ones first, then the newest."""
        return [note_row(note, self.user) for note in self._read[:NOTES_SHOWN]]

    @property
    def has_more(self) -> bool:
        """Whether there are more than are shown."""
        return len(self._read) > NOTES_SHOWN

    @property
    def count(self) -> str:
        """How many there are, as far as was looked: "3", "10+"."""
        return f"{NOTES_SHOWN}+" if self.has_more else str(len(self._read))

    @property
    def url(self) -> str:
        """Where all of them are read, and where a new one is sent."""
        return notes_url(self.organization)

    @property
    def kept(self) -> str:
        """How long a note can be changed."""
        return kept_in_words()


def notes_url(organization: Organization) -> str:
    """Where all notes on a customer are read, and where a new one is sent."""
    return reverse(f"admin:{URL_NAME}s", args=[organization.pk])


def notes_of(organization: Organization) -> Any:
    """The notes on a customer with who wrote them, in no order."""
    return Note.objects.filter(organization=organization).select_related("author").order_by()


def note_row(note: Note, user: Any) -> NoteRow:
    """A note, and what this person may do about it."""
    may_add = user.has_perm(MAY_ADD)
    names = [note.organization_id, note.pk]
    return NoteRow(
        note=note,
        by=author_of(note),
        edit_url=reverse(f"admin:{URL_NAME}", args=names) if may_add and can_be_mended(note, user) else "",
        pin_url=reverse(f"admin:{URL_NAME}_pin", args=names) if may_add else "",
    )


def author_of(note: Note) -> str:
    """Who wrote it, by name."""
    if note.author is None:
        return _("somebody, before notes were signed")
    return person_name(note.author)


def can_be_mended(note: Note, user: Any) -> bool:
    """Whether this person wrote it, and so lately that it may still be changed."""
    return bool(note.author_id == user.pk and timezone.now() - note.created_at < MENDED_WITHIN)


def kept_in_words() -> str:
    """How long a note can be changed."""
    return _("You can mend a note of yours for %(minutes)d minutes; then it is kept as it stands.") % {
        "minutes": MENDED_WITHIN.total_seconds() // 60
    }
