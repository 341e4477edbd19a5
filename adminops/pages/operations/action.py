"""What a row of `adminops/actions.py` says, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.functional import Promise

from adminops.pages.operations.base import OperationPage
from billing.models import SubscriptionEvent
from billing.operations.base import Operation, Subject
from billing.stripe_api import configuration_problem
from organizations.models import Organization


@dataclass(frozen=True)
class StaffAction:
    """One thing staff can do to an organization or to an event of the ledger."""

    label: str | Promise
    icon: str
    rate: str
    """How often one person may apply it, as django-ratelimit writes it."""
    path: str
    page: type[OperationPage[Any, Any, Any]]
    subject_class: type[Organization] | type[SubscriptionEvent] = Organization
    is_foremost: bool = False
    """Whether its button stands in the open; the others are under "More"."""

    @property
    def operation(self) -> Operation[Any, Any, Any]:
        """What it does."""
        return self.page.operation

    @property
    def pages(self) -> tuple[type[OperationPage[Any, Any, Any]], ...]:
        """All that its page can do: usually one operation."""
        return (self.page, *self.page.variants)

    @property
    def name(self) -> str:
        """Names the address (`admin:organizations_organization_<name>`) and the counter of the limit."""
        return self.operation.type

    @property
    def permission(self) -> str:
        return self.operation.permission

    @property
    def url_name(self) -> str:
        options = self.subject_class._meta
        return f"{options.app_label}_{options.model_name}_{self.name}"

    def url(self, subject: Subject) -> str:
        """The page of this action for a subject."""
        return reverse(f"admin:{self.url_name}", args=[subject.pk])

    def refusal(self, subject: Subject) -> str | None:
        """Why it cannot be done now: the connection to Stripe first, then the subject's own state."""
        problem = configuration_problem() if self.operation.calls_stripe else None
        return problem or self.operation.refuse_reason(subject)
