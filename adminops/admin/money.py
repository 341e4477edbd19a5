"""What the lists of invoices, payments, refunds and disputes share.

They read columns that PostgreSQL keeps (`billing.mirror.stored`), never the documents, and are counted up to a cap, so
that a page costs in millions of rows what it costs in sixty.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db.models import Aggregate, F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.functional import Promise, cached_property
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.views import ChangeList

from adminops.admin.cells import below, organization_link
from adminops.admin.listing import BackOfficeChangeList
from adminops.admin.mirrored import MirrorAdmin
from adminops.admin.money_filters import MONEY_FILTERS
from adminops.admin.paging import CappedPaginator
from adminops.pages import badges
from adminops.pages.lists import money_cards, money_rows
from adminops.pages.lists.cards import Cards
from adminops.reports import REPORTS
from adminops.templatetags.backoffice import NOTHING, day, money
from billing.finding import is_an_id
from billing.mirror import stored
from billing.stripe_ids import normal, prefix_of
from organizations.models import Organization
from organizations.search import find_organizations

_LONG_AGO = Value(datetime.fromtimestamp(0, UTC))


class MoneyChangeList(BackOfficeChangeList):
    """A list of money, with whose it is and what it comes to."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        return stored.without_documents(super().get_queryset(request, *args, **kwargs))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Looked up for the rows of this page alone: far down, those before it would pay for it too.
        listed: Any = self.result_list  # type: ignore[has-type]
        keys = list(listed.values_list("pk", flat=True))
        rows = stored.without_documents(stored.with_columns(self.model)).filter(pk__in=keys)
        found = {row.pk: row for row in REPORTS[self.opts.label_lower].prepare(rows)}
        self.result_list = [found[key] for key in keys if key in found]

    @cached_property
    def cards(self) -> Cards:
        """What is listed comes to, in each currency."""
        page = self.model_admin
        return money_cards.cards_of(self, page.sums, page.told)


class MoneyAdmin(MirrorAdmin):
    """One kind of money moving. A subclass says what its list shows, adds up and singles out."""

    paginator = CappedPaginator
    # As the index has it; rows that only say their id come last.
    ordering = (F("created").desc(nulls_last=True), "-djstripe_id")
    list_filter: Any = MONEY_FILTERS
    list_filter_submit = True
    search_help_text = _("A Stripe id, or a customer's name or e-mail")

    cohorts: ClassVar[dict[str, tuple[str | Promise, Q]]] = {}
    """What the list singles out besides Stripe's states: its name in the address, a label, and which rows."""
    unsettled: ClassVar[tuple[str, ...]] = ()
    """The states that wait for their end."""
    sums: ClassVar[dict[str, Aggregate]]
    """What is added up in each currency; `listed` is the figure of its card."""
    columns_of_ids: ClassVar[dict[str, str]] = {}
    """Which column an id of another kind is looked up in, by its prefix."""

    def told(self, row: dict[str, Any]) -> str:
        """What the sums of one currency mean, in words."""
        raise NotImplementedError

    @property
    def states(self) -> Iterable[tuple[str, str | Promise]]:
        """Stripe's states, with our words for them."""
        return badges.states_of(str(self.opts.model_name))

    # -- the list ---------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return stored.with_columns(self.model).order_by(*self.ordering)

    def get_list_display(self, request: HttpRequest) -> list[str]:
        return list(self.list_display)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return MoneyChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = " ".join(search_term.replace("\0", "").split())
        if not term:
            return queryset, False
        owner = stored.owner_of(self.model)
        if is_an_id(term):
            columns = {"cus": owner, **self.columns_of_ids}
            stripe_id = normal(term)
            return queryset.filter(**{columns.get(prefix_of(stripe_id), "id"): stripe_id}), False
        named = self.named(queryset, term)
        if named is not None:
            return named, False
        # Nobody who is only called alike: what is listed is added up, taken away and acted on as a whole.
        sees_members = request.user.has_perm("organizations.view_membership")
        keys = find_organizations(term, alike=False, by_members=sees_members)
        found = Organization.objects.filter(pk__in=keys, stripe_customer_id__isnull=False)
        customers = list(found.order_by().values_list("stripe_customer_id", flat=True))
        # In an order that no index has: else all there is might be walked through to find a few old ones.
        newest = Coalesce("created", _LONG_AGO).desc()
        return queryset.filter(**{f"{owner}__in": customers}).order_by(newest, "-djstripe_id"), False

    def named(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any] | None:
        """Those that this is the name of; None where it is no name of any."""
        return None

    # -- cells ------------------------------------------------------------------------------------------

    @display(description=_("Date"))
    def date(self, obj: Any) -> str:
        return day(obj.created)

    @display(description=_("Organization"))
    def organization(self, obj: Any) -> str:
        if not obj.organization:
            return obj.owner or NOTHING
        return organization_link(obj.organization["key"], obj.organization["name"] or obj.owner or "")

    @display(description=_("Amount"))
    def amount_cell(self, obj: Any) -> str:
        # Not `amount`: a field of that name, with what Stripe calls the amount, would be shown in its place.
        return money(obj.bo_amount, obj.bo_currency)

    @display(description=_("State"))
    def state(self, obj: Any) -> str:
        badge = money_rows.badge_of(obj)
        return format_html("{}{}", badge, below(self.remark(obj))) if badge else NOTHING

    def remark(self, obj: Any) -> str:
        """What is said below the state."""
        return ""

    @display(description=_("Reason"))
    def reason(self, obj: Any) -> str:
        return money_rows.reason_of(obj) or NOTHING
