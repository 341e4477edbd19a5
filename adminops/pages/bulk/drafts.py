"""What somebody ticked and typed for many, kept in their session, so that each page on the way has an address.

A page that is the answer to a POST is gone once somebody goes back to it. Only the newest drafts are kept.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

from django.http import HttpRequest, QueryDict

_IN_SESSION = "bulk_drafts"
# A thousand keys are some ten kilobytes.
MOST_KEPT = 5

# Not answers: what travels with every form of ours.
_NO_ANSWERS = frozenset({"csrfmiddlewaretoken", "chosen", "token", "step"})


@dataclass
class Draft:
    """One way from the list to a job, as far as it went."""

    action: str
    keys: list[str]
    """Of what was ticked."""
    id: str = field(default_factory=lambda: uuid4().hex)
    answers: dict[str, list[str]] = field(default_factory=dict)
    """What was typed, as a form sends it."""
    step: str = ""
    """What was pressed last: nothing yet, "preview" or "apply"."""
    notice: str = ""
    """What to say first."""
    job: str = field(default_factory=lambda: str(uuid4()))
    """The uuid of the job that is started from what is shown; another one whenever it is asked to be shown."""

    def answer(self, sent: QueryDict, step: str, notice: str = "") -> None:
        """Note what was typed, and what was pressed."""
        self.answers = {name: values for name, values in sent.lists() if name not in _NO_ANSWERS}
        self.step, self.notice = step, notice

    @property
    def data(self) -> QueryDict | None:
        """What was typed, for a form; None before anything was typed or pressed."""
        if not self.answers and not self.step:
            return None
        data = QueryDict(mutable=True)
        for name, values in self.answers.items():
            data.setlist(name, values)
        return data


def keep(request: HttpRequest, draft: Draft) -> None:
    """Keep a draft as the newest, instead of what was kept of it before."""
    kept: dict[str, Any] = dict(request.session.get(_IN_SESSION) or {})
    kept.pop(draft.id, None)
    kept[draft.id] = asdict(draft)
    request.session[_IN_SESSION] = dict(list(kept.items())[-MOST_KEPT:])


def find(request: HttpRequest, id_: str, action: str) -> Draft | None:
    """This person's draft for an action; None where it was none, or is kept no more."""
    kept = (request.session.get(_IN_SESSION) or {}).get(id_)
    return Draft(**kept) if kept and kept["action"] == action else None
