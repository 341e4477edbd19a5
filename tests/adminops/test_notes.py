"""Notes on a customer: signed, mended for ten minutes, kept; whatever somebody types into one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from adminops.pages.customer.notes import NOTES_SHOWN
from organizations.models import Note, Organization
from tests.adminops.pages import Page
from tests.factories import NoteFactory, OrganizationFactory, StaffFactory

pytestmark = pytest.mark.django_db

MAY = ("organizations.view_organization", "organizations.view_note", "organizations.add_note")
NASTY = "</textarea><script>alert('x')</script>\"&😀 שלום {{ 7|add:1 }}"


@pytest.fixture
def organization() -> Organization:
    made: Organization = OrganizationFactory(name="Northwind Labs")
    return made


@pytest.fixture
def author() -> User:
    made: User = StaffFactory(first_name="Ann", last_name="Archer", permissions=list(MAY))
    return made


@pytest.fixture
def client(author: User) -> Client:
    client = Client()
    client.force_login(author)
    return client


def home(organization: Organization) -> str:
    return reverse("admin:organizations_organization_change", args=[organization.pk])


def notes(organization: Organization) -> str:
    return reverse("admin:organizations_organization_notes", args=[organization.pk])


def address(note: Note, act: str = "") -> str:
    names = [note.organization_id, note.pk]
    return reverse(f"admin:organizations_organization_note{act}", args=names)


def written_earlier(note: Note, **ago: float) -> None:
    Note.objects.filter(pk=note.pk).update(created_at=timezone.now() - timedelta(**ago))


def test_a_note_is_written_signed_and_said_to_be_kept(client: Client, organization: Organization) -> None:
    text = Page(client.get(home(organization))).text
    assert "No notes yet." in text
    assert "You can mend a note of yours for 10 minutes; then it is kept as it stands." in text
    page = Page(client.post(notes(organization), {"text": "Call on Mondays.\r\nAsk for Ana."}, follow=True))
    assert "Your note is kept." in page.text
    assert "Ann Archer · today" in page.text
    assert "Call on Mondays. Ask for Ana." in page.text
    assert Note.objects.get().text == "Call on Mondays.\nAsk for Ana."


def test_a_second_click_writes_no_second_note(client: Client, organization: Organization) -> None:
    for _click in range(2):
        assert client.post(notes(organization), {"text": "Once."}).status_code == 302
    assert Note.objects.count() == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "write something first"), (" \n ", "write something first"), ("ä" * 5001, "and this has 5001")],
)
def test_what_cannot_be_kept_is_refused_in_a_sentence_and_not_lost(
    client: Client, organization: Organization, text: str, sentence: str
) -> None:
    response = client.post(notes(organization), {"text": text})
    assert response.status_code == 400
    page = Page(response)
    assert sentence in page.text
    assert text.strip() in page.text
    assert not Note.objects.exists()


def test_five_thousand_characters_are_kept_however_many_lines(
    client: Client, organization: Organization
) -> None:
    client.post(notes(organization), {"text": "a\r\n" * 2499 + "aa"})
    assert len(Note.objects.get().text) == 5000


def test_its_author_mends_a_note_for_ten_minutes(
    client: Client, author: User, organization: Organization
) -> None:
    note = NoteFactory(organization=organization, author=author, text="Call on Mondys.")
    written_earlier(note, minutes=9)
    assert address(note) in Page(client.get(home(organization))).links
    assert "Call on Mondys." in Page(client.get(address(note))).text
    page = Page(client.post(address(note), {"text": "Call on Mondays."}, follow=True))
    assert "Your note is changed." in page.text
    assert "Call on Mondays." in page.text
    assert "changed today" in page.text


def test_after_ten_minutes_it_is_kept_and_what_was_typed_can_be_another_note(
    client: Client, author: User, organization: Organization
) -> None:
    note = NoteFactory(organization=organization, author=author, text="As it was.")
    written_earlier(note, minutes=11)
    assert address(note) not in Page(client.get(home(organization))).links
    assert "so it is kept as it stands" in Page(client.get(address(note), follow=True)).text
    page = Page(client.post(address(note), {"text": "Something else."}))
    assert "so it is kept as it stands. Nothing was changed." in page.text
    assert "Something else." in page.text
    assert notes(organization) in page.links
    note.refresh_from_db()
    assert (note.text, note.edited_at) == ("As it was.", None)


def test_nobody_mends_the_note_of_another(client: Client, organization: Organization) -> None:
    note = NoteFactory(organization=organization, text="Theirs.")
    assert address(note) not in Page(client.get(home(organization))).links
    assert "Only its author can mend a note." in Page(client.post(address(note), {"text": "Mine."})).text
    note.refresh_from_db()
    assert note.text == "Theirs."


def test_pinned_notes_stand_first_until_they_are_let_go(client: Client, organization: Organization) -> None:
    first, second = (NoteFactory(organization=organization, text=text) for text in ("Older.", "Newer."))
    page = Page(client.post(address(first, "_pin"), {"pinned": "yes"}, follow=True))
    assert "The note is pinned" in page.text
    assert page.text.index("Older.") < page.text.index("Newer.")
    page = Page(client.post(address(first, "_pin"), {"pinned": "no"}, follow=True))
    assert page.text.index("Newer.") < page.text.index("Older.")
    assert second.pinned is False


def test_looking_changes_nothing(client: Client, organization: Organization, author: User) -> None:
    note = NoteFactory(organization=organization, author=author)
    assert client.get(address(note, "_pin"), {"pinned": "yes"}).status_code == 405
    client.get(address(note), {"text": "Else."})
    client.get(notes(organization), {"text": "New."})
    assert list(Note.objects.values_list("text", "pinned")) == [(note.text, False)]


def test_a_form_of_elsewhere_is_turned_away(author: User, organization: Organization) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(author)
    assert strict.post(notes(organization), {"text": "Forged."}).status_code == 403
    assert not Note.objects.exists()


def test_each_permission_opens_its_own_part_only(
    staff: Callable[..., Client], organization: Organization
) -> None:
    note = NoteFactory(organization=organization, text="Between us.")
    onlooker = staff("organizations.view_organization")
    page = Page(onlooker.get(home(organization)))
    assert "Between us." not in page.text
    assert "Notes are shown to those who may see them." in page.text
    assert notes(organization) not in page.links
    assert onlooker.get(notes(organization)).status_code == 403
    reader = staff("organizations.view_organization", "organizations.view_note")
    page = Page(reader.get(home(organization)))
    assert "Between us." in page.text
    assert "Add note" not in page.text
    assert address(note, "_pin") not in page.links
    for client in (onlooker, reader):
        assert client.post(notes(organization), {"text": "x"}).status_code == 403
        assert client.post(address(note), {"text": "x"}).status_code == 403
        assert client.post(address(note, "_pin"), {"pinned": "yes"}).status_code == 403
    stranger = staff("organizations.view_note", "organizations.add_note")
    assert stranger.post(notes(organization), {"text": "x"}).status_code == 403
    assert Client().post(notes(organization), {"text": "x"}).status_code == 302
    assert Note.objects.count() == 1


def test_a_note_of_another_customer_is_not_found_here(client: Client, organization: Organization) -> None:
    elsewhere = NoteFactory()
    for act in ("", "_pin"):
        there = address(elsewhere, act).replace(f"/{elsewhere.organization_id}/", f"/{organization.pk}/")
        assert client.post(there, {"text": "x", "pinned": "yes"}).status_code == 404


def test_many_notes_are_read_in_pages(client: Client, organization: Organization) -> None:
    for number in range(55):
        NoteFactory(organization=organization, text=f"Note {number:03}.")
    page = Page(client.get(home(organization)))
    assert f"Notes {NOTES_SHOWN}+" in page.text
    assert page.text.count("Note 0") == NOTES_SHOWN
    assert "All notes" in page.text
    newest = Page(client.get(notes(organization)))
    assert "Note 054." in newest.text
    assert "Note 004." not in newest.text
    older = next(link for link in newest.links if link.startswith("?before="))
    oldest = Page(client.get(notes(organization) + older))
    assert "Note 000." in oldest.text
    assert "Older notes" not in oldest.text


def test_whatever_is_typed_stays_text(client: Client, organization: Organization, author: User) -> None:
    author.first_name = NASTY[:100]
    author.save()
    client.post(notes(organization), {"text": NASTY})
    note = Note.objects.get()
    pages: list[Any] = [
        client.get(home(organization)),
        client.get(notes(organization)),
        client.get(address(note)),
        client.post(notes(organization), {"text": NASTY + "x" * 5000}),
    ]
    for page in pages:
        assert Page(page).could_run() == []
        assert b"<script>alert" not in page.content
    assert client.post(notes(organization), {"text": "a\0b"}).status_code == 400
    assert client.get(notes(organization), {"before": "9" * 40}).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_what_was_written_before_notes_were_signed_is_a_note_that_nobody_mends(
    client: Client, organization: Organization
) -> None:
    other = OrganizationFactory()
    head = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        MigrationExecutor(connection).migrate([("organizations", "0007_slug_is_no_key")])
        with connection.cursor() as cursor:
            cursor.execute("UPDATE organizations_organization SET notes = %s WHERE id = %s", [" ", other.pk])
            sql = "UPDATE organizations_organization SET notes = 'Pays by wire.' WHERE id = %s"
            cursor.execute(sql, [organization.pk])
    finally:
        MigrationExecutor(connection).migrate(head)
    (note,) = Note.objects.all()
    assert (note.organization, note.author, note.text) == (organization, None, "Pays by wire.")
    seen = client.get(home(organization))
    text = Page(seen).text
    assert "somebody, before notes were signed" in text
    # When it was written nobody knows; the day of the migration is not that.
    written = seen.content.decode().partition('<ol class="bo-written">')[2].partition("</ol>")[0]
    assert "Pays by wire." in written
    assert "<time" not in written
    assert "Pays by wire." in text
    assert "Only its author can mend a note" in Page(client.get(address(note), follow=True)).text
