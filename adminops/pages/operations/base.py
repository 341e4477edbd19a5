"""What one operation asks and shows: the part that every operation brings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict

from adminops.pages.frame import home_of, tell
from adminops.pages.operations.forms import ReasonForm, ask_which_subscription
from billing.operations.base import Choices, Operation, Preview, Subject
from billing.operations.intent import Performed
from billing.operations.subscription import SubscriptionChoices
from organizations.models import Organization


@dataclass(frozen=True)
class Row:
    """A line of what will happen: "Credit for unused time on 12 seats", "−$232.00"."""

    label: str
    value: str
    below: str = ""
    """In small print under the label."""
    is_sum: bool = False


class OperationPage[SubjectT: Subject, ChoicesT: Choices, PreviewT: Preview](ABC):
    """What one operation asks and shows, for one subject and one colleague."""

    operation: ClassVar[Operation[Any, Any, Any]]
    form_class: ClassVar[type[ReasonForm]]
    # The fields that the preview depends on. A change of the others (reason, ticket) needs no new preview.
    previewed_fields: ClassVar[tuple[str, ...]] = ()
    # Whether the preview is shown at once, where nothing must be asked first.
    previews_at_once: ClassVar[bool] = False
    # Pages without an address of their own: those that a question of this one chooses between, besides itself.
    variants: ClassVar[tuple[type[OperationPage[Any, Any, Any]], ...]] = ()

    def __init__(self, subject: SubjectT, user: Any, query: QueryDict) -> None:
        self.subject = subject
        self.user = user
        self.query = query
        """What a link to the page fills in, such as `?invoice=in_…`."""

    def variant_for(self, choices: ChoicesT) -> OperationPage[Any, Any, Any]:
        """The page that shows and does what was chosen: this one, or one of its variants."""
        return self

    def refusal(self) -> str | None:
        """Why there is nothing here for this person to choose, though the operation itself could be done."""
        return None

    def facts(self) -> list[str]:
        """What the person should know before typing, in short sentences."""
        return []

    def initial(self) -> dict[str, Any]:
        """What the form holds at first."""
        return {}

    def form(self, data: Any = None) -> forms.Form:
        """The form, empty or with what was typed; it asks which subscription where there are several."""
        form = self.form_class(data, initial=self.initial())
        if isinstance(self.subject, Organization) and issubclass(
            self.operation.choices_class, SubscriptionChoices
        ):
            ask_which_subscription(form, self.subject)
        return form

    @abstractmethod
    def choices(self, cleaned: dict[str, Any]) -> ChoicesT:
        """What was chosen. Raises BillingError for what no form can check."""

    @abstractmethod
    def rows(self, preview: PreviewT) -> list[Row]:
        """What will happen, as a table."""

    def sentences(self, preview: PreviewT) -> list[str]:
        """What will happen, below the table."""
        return []

    def warnings(self, preview: PreviewT) -> list[str]:
        """What the person may not have thought of."""
        return []

    @abstractmethod
    def confirm_label(self, preview: PreviewT) -> str:
        """The act and its number: "Change to 12 seats"."""

    def done(self, request: HttpRequest, performed: Performed) -> HttpResponse:
        """Say what happened, on the page one came from."""
        tell(request, performed.event)
        return HttpResponseRedirect(home_of(request, self.subject))
