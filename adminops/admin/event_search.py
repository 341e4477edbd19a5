"""What somebody pasted or remembers of an event, as something an index of the ledger finds."""

from __future__ import annotations

import re
import uuid

from django.db.models import Q

from adminops.admin.keyset import Lane
from adminops.pages.ledger import event_words
from billing.finding import is_stripe_id, ledger_column_of
from billing.one_look import read_once
from billing.operations import COURSES
from billing.operations.base import Course
from billing.stripe_ids import normal
from organizations.models import Organization
from organizations.search import find_organizations

MOST_ORGANIZATIONS = 20
"""As many as a name may mean here; whoever means more finds them in the list of customers."""

EVENT_TYPE = re.compile(r"^[a-z_]+(\.[a-z_]+)+$")
_LARGEST_KEY = 2**63 - 1


@read_once
def lane_of(term: str, by_members: bool) -> Lane:
    """Events for an id of Stripe's or ours, of types by name or words, or of organizations by a scrap of text."""
    term = term.replace("\0", "").strip()
    try:
        return [Q(uuid=uuid.UUID(term))]
    except ValueError:
        pass
    if term in event_words.TYPES or term in COURSES:
        return [Q(type=term)]
    if is_stripe_id(term):
        term = normal(term)
        column = ledger_column_of(term)
        if column in ("stripe_customer_id", "stripe_subscription_id"):
            owner = Organization.objects.filter(**{column: term}).values_list("pk", flat=True).first()
            if owner is not None:
                # What we did to it stands there without the id as well.
                return [Q(organization_id=owner)]
        return [Q(**{column: term})]
    # A type we have no words for is written like a domain, an id of an unknown kind like a slug.
    spelled = [Q(type=term)] if EVENT_TYPE.match(term) else []
    unknown = [Q(stripe_object_id=term)] if "_" in term and " " not in term else []
    own = [Q(type=type_) for type_ in _own_types(term)]
    return [
        *spelled,
        *unknown,
        *own,
        *of_organizations(find_organizations(term, alike=False, by_members=by_members)),
    ]


def _own_types(term: str) -> list[str]:
    """Our own operations that are called so, or whose words say so: "refund_invoice", "Refund", "change seats"."""
    sought = " ".join(term.casefold().replace("_", " ").split())
    return [
        course.type
        for course in COURSES.values()
        if any(f" {sought} " in f" {words} " for words in _words_of(course))
    ]


def _words_of(course: Course) -> list[str]:
    said = [course.label, getattr(course, "attempt", ""), course.type.replace("_", " ")]
    return [str(each).casefold() for each in said]


@read_once
def organizations_meant(term: str, by_members: bool) -> Lane:
    """Events of the organizations meant by a key, an id of Stripe's, a slug, or a scrap of a name or e-mail."""
    term = term.replace("\0", "").strip()
    if term.isascii() and term.isdigit():
        return [Q(organization_id=int(term))] if int(term) <= _LARGEST_KEY else []
    if is_stripe_id(term):
        term = normal(term)
        known = Q(stripe_customer_id=term) | Q(stripe_subscription_id=term)
        return of_organizations(list(Organization.objects.filter(known).values_list("pk", flat=True)[:2]))
    exact = Organization.objects.filter(slug=term).values_list("pk", flat=True).first()
    if exact is not None:
        return of_organizations([exact])
    return of_organizations(find_organizations(term, alike=False, by_members=by_members))


def of_organizations(keys: list[int]) -> Lane:
    """Events of these organizations, of the first where they are many."""
    return [Q(organization_id=key) for key in keys[:MOST_ORGANIZATIONS]]
