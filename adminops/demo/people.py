"""The people who work for the demo's customers."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import transaction

from organizations.models import Membership, Organization
from organizations.querysets import ENDED_STATUSES

Role, Status = Membership.Role, Membership.Status

# First and last names by the country of the customer's address.
_ENGLISH = (
    "Amelia Aaron Beatrice Calvin Dana Elliot Fiona Gavin Hannah Isaac Jasmine Kieran Leah Marcus Nadia Owen Priya"
    " Quentin Rosa Samuel Tess Uma Victor Wendy Xavier Yolanda Zane".split(),
    "Abbott Barlow Castellano Delgado Ellison Foster Greene Hughes Ibarra Jennings Kaur Lawson Mbeki Nakamura Okafor"
    " Patel Quinn Reyes Sinclair Thornton Underwood Vance Whitaker Young".split(),
)
_GERMAN = (
    "Anke Bernd Clara Dieter Elif Florian Greta Holger Ingrid Jonas Katrin Lukas Mareike Nils Petra Stefan".split(),
    "Albrecht Böhm Dreyer Engel Fuchs Günther Hartmann Jäger Köhler Lorenz Möller Neumann Schröder Vogt Weiß".split(),
)
_NORDIC = (
    "Astrid Bjørn Camilla Einar Freja Gustav Helga Ingmar Johanna Kåre Linnea Magnus Nora Oskar Sigrid Tove".split(),
    "Andersson Bergström Dahl Eriksen Forsberg Hansen Johansen Lindgren Møller Nyström Olsen Sørensen".split(),
)
_FRENCH = (
    "Aurélie Benoît Camille Didier Élodie Fabien Géraldine Hugo Inès Julien Maëlle Nicolas Océane Pascal".split(),
    "Bernard Chevalier Dubois Fournier Girard Lambert Mercier Noël Perrin Roussel Vidal".split(),
)
_IBERIAN = (
    "Alba Bruno Carmen Diego Elena Francisco Inês Javier Lucía Miguel Núria Rafael Sofia Tomás".split(),
    "Almeida Carvalho Domínguez Ferreira García Ibáñez López Muñoz Nogueira Ortega Ramos Silva".split(),
)
_ITALIAN = (
    "Alessia Bruno Chiara Davide Elisa Fabrizio Giulia Lorenzo Marta Nicolò".split(),
    "Amato Bianchi Conti De Luca Ferri Gallo Marino Ricci Serra".replace("De Luca", "DeLuca").split(),
)
_DUTCH = (
    "Anouk Bram Carlijn Daan Esmée Floris Joost Lotte Maarten Sanne".split(),
    "Bakker Dekker Hendriks Jansen Kuipers Mulder Smit Visser".split(),
)
_CENTRAL = (
    "Agnieszka Bartosz Dorota Ferenc Gábor Ilona Jakub Katalin Marek Zsófia".split(),
    "Balogh Dąbrowski Farkas Horváth Kowalczyk Lewandowski Nowak Szabó Wiśniewska".split(),
)
_JAPANESE = (
    "Akira Chiyo Daisuke Emi Haruto Kaori Kenji Mei Naoki Rin Sota Tomoko Yui Yusuke".split(),
    "Abe Fujita Hayashi Inoue Kobayashi Matsuda Nakagawa Ogawa Saito Takahashi Ueda Yamamoto".split(),
)
NAMES = {
    "DE": _GERMAN,
    "AT": _GERMAN,
    "SE": _NORDIC,
    "DK": _NORDIC,
    "NO": _NORDIC,
    "FR": _FRENCH,
    "ES": _IBERIAN,
    "PT": _IBERIAN,
    "IT": _ITALIAN,
    "NL": _DUTCH,
    "PL": _CENTRAL,
    "HU": _CENTRAL,
    "JP": _JAPANESE,
}

# What NFKD leaves as it is.
_PLAIN = str.maketrans({"ø": "o", "ß": "ss", "ł": "l", "æ": "ae", "å": "a"})
# A page of members is enough; a big customer's seats are not all taken.
MOST_ACTIVE = 36


@dataclass(frozen=True)
class Crowd:
    """How many members an organization has, by status."""

    active: int
    invited: int = 0
    suspended: int = 0
    removed: int = 0


def crowd_of(organization: Organization, random: Random) -> Crowd:
    """Fewer active members than seats, as it mostly is; after the end of a subscription, few are left."""
    seats = organization.seats or 1
    if organization.subscription_status in ENDED_STATUSES:
        return Crowd(active=max(1, seats // 2), removed=seats // 3)
    active = min(MOST_ACTIVE, max(1, round(seats * random.uniform(0.55, 0.97))))
    return Crowd(
        active=active,
        invited=random.choice((0, 0, 1, 2)),
        suspended=1 if random.random() < 0.2 else 0,
        removed=random.choice((0, 0, 1, 1, 2)),
    )


def add_members(
    organization: Organization, crowd: Crowd, *, country: str, random: Random, until: datetime
) -> int:
    """Give an organization its people, all or none, who were at work until `until` at the latest.

    Returns how many; 0 where it has members already.
    """
    if organization.memberships.exists():
        return 0
    statuses = (
        [Status.ACTIVE] * crowd.active
        + [Status.INVITED] * crowd.invited
        + [Status.SUSPENDED] * crowd.suspended
        + [Status.REMOVED] * crowd.removed
    )
    domain = organization.billing_email.partition("@")[2] or f"{organization.slug}.example"
    since = min(organization.created_at, until)
    users, memberships = [], []
    for number, (first, family) in enumerate(_people(len(statuses), country, random)):
        status = statuses[number]
        joined = since + (until - since) * random.betavariate(1, 3)
        seen = _last_seen(status, joined, until, random, owner=number == 0)
        email = f"{_address(first)}.{_address(family)}@{domain}"
        user = User(
            username=email,
            email=email,
            first_name=first,
            last_name=family,
            password=make_password(None),
            date_joined=joined,
            last_login=seen,
        )
        users.append(user)
        memberships.append(
            Membership(
                organization=organization,
                user=user,
                role=_role(number, status, random),
                status=status,
                joined_at=joined,
                last_activity_at=seen,
            )
        )
    with transaction.atomic():
        User.objects.bulk_create(users)
        Membership.objects.bulk_create(memberships)
        seen_by_all = [each.last_activity_at for each in memberships if each.last_activity_at]
        Organization.objects.filter(pk=organization.pk).update(
            last_activity_at=max(seen_by_all, default=None)
        )
    return len(memberships)


def _people(count: int, country: str, random: Random) -> list[tuple[str, str]]:
    """So many different names, most of them of the country, some from anywhere in the English list."""
    own = NAMES.get(country, _ENGLISH)
    pairs = [(first, family) for first in own[0] for family in own[1]]
    guests = [(first, family) for first in _ENGLISH[0] for family in _ENGLISH[1]]
    chosen = random.sample(pairs, count - count // 4) + random.sample(guests, count // 4)
    unique: dict[str, tuple[str, str]] = {}
    for pair in chosen + random.sample(guests, count):
        unique.setdefault(" ".join(map(_address, pair)), pair)
    return list(unique.values())[:count]


def _role(number: int, status: str, random: Random) -> str:
    if number == 0:
        return Role.OWNER
    if number == 1:
        return Role.ADMIN
    if status != Status.ACTIVE:
        return Role.MEMBER
    return random.choices((Role.MEMBER, Role.VIEWER, Role.ADMIN), (8, 2, 1))[0]


def _last_seen(
    status: str, since: datetime, last: datetime, random: Random, *, owner: bool
) -> datetime | None:
    """When somebody was last at work in the product. Those who were only invited never were."""
    if status == Status.INVITED:
        return None
    if status != Status.ACTIVE:
        return since + (last - since) * random.uniform(0.3, 0.9)
    days = random.uniform(0, 2) if owner else random.expovariate(1 / 6)
    return max(since, last - timedelta(days=days))


def _address(name: str) -> str:
    """A name as it stands in an e-mail address."""
    plain = unicodedata.normalize("NFKD", name.lower().translate(_PLAIN))
    return "".join(letter for letter in plain if letter.isascii() and letter.isalnum())


def seeded(organizations: Sequence[Organization]) -> dict[int, Random]:
    """A source of chance for each organization, always the same one."""
    return {each.pk: Random(each.billing_email) for each in organizations}  # noqa: S311  (no secret)
