"""Events taken away as JSON Lines: each ticked event, with what Stripe sent, on a line of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages.ledger.event import SEE_PAYLOADS
from adminops.pages.lists.export import PERMISSION as EXPORT
from adminops.pages.lists.export import TYPE
from billing.ledger import record_staff_act
from billing.models import SubscriptionEvent

MOST = 1000
"""So many whole events go into one file."""

NAME = "download_json_lines"
LABEL = gettext_lazy("Download as JSON Lines")
PERMISSIONS = (EXPORT, SEE_PAYLOADS)

_COLUMNS = (
    "id uuid source type created_at occurred_at recovered organization_id organization_label actor_id actor_label"
    " reason ticket livemode stripe_event_id stripe_object_id stripe_customer_id stripe_subscription_id"
    " stripe_invoice_id stripe_charge_id stripe_refund_id stripe_request_id idempotency_key amount currency"
    " previous_status status previous_quantity quantity message state attempts processed_at"
).split()
_ROWS_AT_ONCE = 100


def json_lines(
    model_admin: Any, request: HttpRequest, events: QuerySet[SubscriptionEvent]
) -> HttpResponseBase:
    """The ticked events as a file; the ledger says who took which."""
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    keys = list(events.values_list("pk", flat=True)[: MOST + 1])
    if len(keys) > MOST:
        messages.error(
            request,
            _(
                "Nothing was taken away: at most %(most)s events go into one file. Take the list as a file instead."
            )
            % {"most": f"{MOST:,}"},
        )
        return redirect(request.get_full_path())
    record_staff_act(
        TYPE,
        request.user,
        ngettext(
            "Took %(count)d event with what Stripe sent away as JSON Lines.",
            "Took %(count)d events with what Stripe sent away as JSON Lines.",
            len(keys),
        )
        % {"count": len(keys)},
        after={"report": "events", "kind": "jsonl", "events": keys},
    )
    return StreamingHttpResponse(
        _lines(keys),
        content_type="application/x-ndjson; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="events-{timezone.localdate().isoformat()}.jsonl"'
        },
    )


def _lines(keys: list[int]) -> Iterator[bytes]:
    events = SubscriptionEvent.objects.filter(pk__in=keys).order_by("-id")
    for row in events.values(*_COLUMNS, "payload__body").iterator(chunk_size=_ROWS_AT_ONCE):
        yield _line(row, row.pop("payload__body")).encode() + b"\n"


def _line(row: dict[str, Any], body: str | None) -> str:
    """Columns and payload; the payload is text where it is no JSON, and null where it is not kept."""
    try:
        sent = None if body is None else json.loads(body)
        return json.dumps({**row, "payload": sent}, default=str)
    except (ValueError, RecursionError):
        return json.dumps({**row, "payload": body}, default=str)
