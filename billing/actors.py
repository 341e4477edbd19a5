"""People as they are named, and who of them has written to the ledger: colleagues, and owners who paid."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db.models import Q, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Concat

MOST = 20
"""As many as a name may mean; whoever means more has not said whom yet."""

_MOST_ACTORS = 5_000

# From one actor to the next along the index of actors, past all that each did.
_ACTORS = """
    WITH RECURSIVE actors AS (
        (SELECT actor_id FROM billing_subscriptionevent WHERE actor_id IS NOT NULL ORDER BY actor_id LIMIT 1)
        UNION ALL
        SELECT (SELECT actor_id FROM billing_subscriptionevent
                 WHERE actor_id > actors.actor_id ORDER BY actor_id LIMIT 1)
        FROM actors WHERE actors.actor_id IS NOT NULL
    )
    SELECT actor_id FROM actors WHERE actor_id IS NOT NULL LIMIT %s
"""


def person_name(user: User) -> str:
    """A person by name, or by login where they have none."""
    return user.get_full_name().strip() or user.get_username()


def find_actors(term: str) -> list[int]:
    """Keys of the people who acted and whose login, e-mail or name holds this, at most `MOST` of them."""
    term = " ".join(term.replace("\0", "").split())[:200]
    if not term:
        return []
    people = (
        get_user_model()
        ._default_manager.annotate(full_name=Concat("first_name", Value(" "), "last_name"))
        .filter(
            Q(username__icontains=term) | Q(email__icontains=term) | Q(full_name__icontains=term),
            pk__in=RawSQL(_ACTORS, [_MOST_ACTORS]),  # noqa: S611  (a constant)
        )
    )
    return list(people.order_by("pk").values_list("pk", flat=True)[:MOST])
