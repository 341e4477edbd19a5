"""Finding organizations by a scrap somebody remembers: their name, an e-mail, a member's e-mail, misspelt or not.

Every arm of the search is bounded and served by an index (trigrams of the upper case), so that a short or common scrap
costs no more in a large table than in a small one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import F, Func, IntegerField, Value

from organizations.querysets import Among

if TYPE_CHECKING:
    from organizations.querysets import OrganizationQuerySet

MOST = 1000
"""As many as a search finds; whoever has more than that has not searched yet."""

_LONGEST = 200
_ENOUGH = 20
"""With fewer found by what was typed, what sounds like it is looked for too."""

# PostgreSQL's default is 0.6, which forgives one slip in a long word and none in a short one.
_WORD_SIMILARITY = "0.4"
# Where that finds nothing: two letters exchanged leave a word of seven so much alike, and no more.
_LAST_RESORT = "0.3"
# There are ten times as many members, so more must be alike.
_MEMBER_SIMILARITY = "0.5"

# How good a find is: 0 is exactly what was typed, 4 a member's e-mail with it somewhere inside.
_AS_TYPED = """
    WITH found AS (
        (SELECT id, 0 AS rank FROM organizations_organization
          WHERE UPPER(name::text) LIKE UPPER(%(exactly)s) OR UPPER(slug::text) LIKE UPPER(%(exactly)s)
             OR UPPER(billing_email::text) LIKE UPPER(%(exactly)s) LIMIT %(most)s)
        UNION ALL
        (SELECT id, 1 FROM organizations_organization
          WHERE UPPER(name::text) LIKE UPPER(%(begins)s) OR UPPER(billing_email::text) LIKE UPPER(%(begins)s)
          LIMIT %(most)s)
        UNION ALL
        (SELECT id, 2 FROM organizations_organization
          WHERE UPPER(name::text) LIKE UPPER(%(word)s) LIMIT %(most)s)
        {within}
        {by_members}
    )
    SELECT EXISTS (SELECT FROM found WHERE rank = 0),
           ARRAY(
               SELECT id FROM (SELECT id, MIN(rank) AS rank FROM found GROUP BY id) AS best
               ORDER BY rank, id LIMIT %(most)s
           ),
           set_config('pg_trgm.word_similarity_threshold', %(similarity)s, true),
           set_config('enable_seqscan', 'off', true)
"""

# Trigrams find no scrap of one or two letters in the middle of a word, so those are looked for at the beginnings only.
_WITHIN = """
        UNION ALL
        (SELECT id, 3 FROM organizations_organization
          WHERE UPPER(name::text) LIKE UPPER(%(within)s) OR UPPER(slug::text) LIKE UPPER(%(within)s)
             OR UPPER(billing_email::text) LIKE UPPER(%(within)s) LIMIT %(most)s)
"""

_BY_MEMBERS = """
        UNION ALL
        (SELECT organization_id, 4 FROM organizations_membership
          WHERE status <> 'removed'
            AND user_id IN (SELECT id FROM {users} WHERE UPPER(email::text) LIKE UPPER(%(within)s) LIMIT %(most)s)
          LIMIT %(most)s)
"""

# What stands behind so many names that it tells nobody apart, and before the "@" of so many billing e-mails.
_FORMS = frozenset("ab ag as bv co corp gmbh inc kg limited llc ltd nv oy plc sa sarl se spa srl ug".split())
_OFFICES = frozenset(
    "accounting accounts ap billing finance hello info invoice invoices office payments".split()
)

_ASK_LESS = """
    SELECT set_config('pg_trgm.word_similarity_threshold', %(similarity)s, true),
           set_config('enable_seqscan', 'off', true)
"""

# The most alike of each arm; a name also as a whole, where a part of it says nothing. Members by what stands before the
# "@": the rest is the same for so many that it tells nobody apart.
_ALIKE = """
    SELECT ARRAY(
               SELECT id FROM (
                   (SELECT id, word_similarity(UPPER(%(telling)s), UPPER(name::text)) AS likeness
                      FROM organizations_organization WHERE UPPER(name::text) %%> UPPER(%(telling)s)
                     ORDER BY likeness DESC LIMIT %(enough)s)
                   UNION ALL
                   (SELECT id, similarity(UPPER(%(whole)s), UPPER(name::text)) AS likeness
                      FROM organizations_organization
                     WHERE %(whole)s <> '' AND UPPER(name::text) %% UPPER(%(whole)s)
                     ORDER BY likeness DESC LIMIT %(enough)s)
                   UNION ALL
                   (SELECT id, word_similarity(UPPER(%(telling)s), UPPER(slug::text)) AS likeness
                      FROM organizations_organization WHERE UPPER(slug::text) %%> UPPER(%(telling)s)
                     ORDER BY likeness DESC LIMIT %(enough)s)
                   UNION ALL
                   (SELECT id, word_similarity(UPPER(%(mail)s), UPPER(billing_email::text)) AS likeness
                      FROM organizations_organization WHERE UPPER(billing_email::text) %%> UPPER(%(mail)s)
                     ORDER BY likeness DESC LIMIT %(enough)s)
               ) AS alike GROUP BY id ORDER BY MAX(likeness) DESC, id LIMIT %(enough)s
           ),
           set_config('pg_trgm.word_similarity_threshold', %(member_similarity)s, true),
           ARRAY(
               SELECT organization_id FROM organizations_membership JOIN (
                   SELECT id, word_similarity(UPPER(%(term)s), UPPER(email::text)) AS likeness FROM {users}
                    WHERE %(local)s <> '' AND UPPER(split_part(email::text, '@', 1)) %%> UPPER(%(local)s)
                    LIMIT %(most)s
               ) AS alike ON user_id = alike.id
                WHERE status <> 'removed'
                GROUP BY organization_id ORDER BY MAX(likeness) DESC, organization_id LIMIT %(enough)s
           ),
           set_config('enable_seqscan', 'on', true)
"""


def find_organizations(term: str, *, by_members: bool, alike: bool = True) -> list[int]:
    """Keys of the organizations that fit a scrap, the best first, at most `MOST` of them.

    What was typed is looked for in names, slugs and billing e-mails, and in the e-mails of members if `by_members`;
    where that finds few, and none that is exactly it, those of which one of these looks like it follow, if `alike`: of
    the members' only where it finds nothing, for there are many more of them.
    """
    term = " ".join(term.replace("\0", "").split())[:_LONGEST]
    if not term:
        return []
    literal = term.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    users = connection.ops.quote_name(get_user_model()._meta.db_table)
    # A scrap of one or two letters has no trigram.
    within = _WITHIN if len(term) > 2 else ""
    of_members = _BY_MEMBERS.format(users=users) if by_members and len(term) > 2 else ""
    # One transaction, for that is how long the setting lasts; behind a pooler, the next may be another connection's.
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        cursor.execute(
            _AS_TYPED.format(within=within, by_members=of_members),
            {
                "exactly": literal,
                "begins": f"{literal}%",
                "word": f"% {literal}%",
                "within": f"%{literal}%",
                "most": MOST,
                # For the second query; in the first, because it costs no trip of its own there. Along with it goes that
                # the table is not read: the planner takes likeness for cheap, and it is not.
                "similarity": _WORD_SIMILARITY,
            },
        )
        is_exact, found = cursor.fetchone()[:2]
        if alike and not is_exact and len(found) < _ENOUGH and len(term) > 2:
            local, telling = term.split("@")[0], _telling(term)
            asked: dict[str, str | int] = {
                "term": term,
                "telling": telling,
                "whole": term if telling != term else "",
                "mail": _telling_of_mail(term) if "@" in term else telling,
                # Without a letter or digit nothing is looked for, but everything would be looked through.
                "local": local if by_members and not found and _tells(local) else "",
                "member_similarity": _MEMBER_SIMILARITY,
                "most": MOST,
                "enough": _ENOUGH,
            }
            cursor.execute(_ALIKE.format(users=users), asked)
            organizations, _likeness, theirs, _scans = cursor.fetchone()
            found = [*found, *organizations, *theirs]
            if not found:
                cursor.execute(_ASK_LESS, {"similarity": _LAST_RESORT})
                cursor.execute(_ALIKE.format(users=users), {**asked, "local": ""})
                found = cursor.fetchone()[0]
    return list(dict.fromkeys(found))


def _tells(local: str) -> bool:
    return len(local) > 2 and any(map(str.isalnum, local))


def _telling(term: str) -> str:
    """What of a name tells it apart: "Amce" of "Amce GmbH"; the whole where nothing would be left."""
    words = [word for word in term.split() if word.strip(".,").casefold() not in _FORMS]
    return " ".join(words) or term


def _telling_of_mail(mail: str) -> str:
    """The same of an e-mail: without the end of its domain, and without what stands for an office."""
    local, _at, domain = mail.partition("@")
    company = domain.rpartition(".")[0] or domain
    return company if company and local.casefold() in _OFFICES else f"{local} {company}".strip()


def find_users(term: str) -> list[int]:
    """Keys of the people whose e-mail has this in it, or whose login it is; at most `MOST` of them."""
    term = " ".join(term.replace("\0", "").split())[:_LONGEST]
    users = get_user_model()._default_manager.order_by()
    found = list(users.filter(**{get_user_model().USERNAME_FIELD: term}).values_list("pk", flat=True))
    if len(term) > 2:
        found += users.filter(email__icontains=term).values_list("pk", flat=True)[:MOST]
    return found


def ranked(organizations: OrganizationQuerySet, keys: list[int]) -> OrganizationQuerySet:
    """Those of these organizations, each with its place among them as `rank`."""
    place = Func(Value(keys), F("pk"), function="array_position", output_field=IntegerField())
    return organizations.filter(Among(keys)).annotate(rank=place)
