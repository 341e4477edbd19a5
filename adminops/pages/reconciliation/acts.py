"""Starting, stopping and taking up runs, and letting one go on that stopped and asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from adminops import limits
from adminops.pages.reconciliation.differences import shown
from adminops.pages.reconciliation.rights import AGREE, START, refuse_those_who_may_not
from billing.errors import OperationRefused
from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation import breaker, runs
from billing.reconciliation.checks import CHECKS

Kind, State = ReconciliationRun.Kind, ReconciliationRun.State

# Nobody needs to start or stop more often than that, and each start asks Stripe.
RATE = "10/m"
# Of what a run would mend, so many are shown; the list has them all.
EXAMPLES = 20

# What the buttons start: which run, and whether it only looks.
STARTS = {"full": (Kind.FULL, False), "incremental": (Kind.INCREMENTAL, False), "look": (Kind.FULL, True)}


@require_POST
def start_view(request: HttpRequest) -> HttpResponse:
    """Start what was asked for."""
    refuse_those_who_may_not(request, START)
    asked = STARTS.get(request.POST.get("what", ""))
    if asked is None:
        messages.warning(request, _("Nothing was started. Choose one of the buttons."))
        return _to_overview()
    kind, dry_run = asked

    def start() -> str:
        runs.start(kind, actor=cast(User, request.user), dry_run=dry_run)
        return _("It was started; this page says how far it is.")

    return _do(request, start)


@require_POST
def stop_view(request: HttpRequest, run_id: int) -> HttpResponse:
    """Stop a run after what is in hand."""
    refuse_those_who_may_not(request, START)
    run = _run(run_id)

    def stop() -> str:
        if not runs.stop(run, cast(User, request.user)):
            raise OperationRefused(_("It had come to its end already. Nothing was stopped."))
        return _("Stopped after what was in hand. What was found until then stays; it can be taken up again.")

    return _do(request, stop)


@require_POST
def resume_view(request: HttpRequest, run_id: int) -> HttpResponse:
    """Take a stopped run up where it was left."""
    refuse_those_who_may_not(request, START)
    run = _run(run_id)

    def resume() -> str:
        if runs.resumable(run.kind) != run or run.state != State.STOPPED:
            raise OperationRefused(_("It cannot be taken up any more: start a new one. Nothing was started."))
        runs.resume(run)
        return _("It goes on where it was stopped.")

    return _do(request, resume)


@require_http_methods(["GET", "HEAD", "POST"])
def agree_view(request: HttpRequest, run_id: int) -> HttpResponse:
    """What a run would change that stopped and asked; and on confirmation, let it."""
    refuse_those_who_may_not(request, AGREE)
    run = _run(run_id)
    if request.method == "POST":

        def agree() -> str:
            runs.agree(run, cast(User, request.user))
            return _("It goes on and mends what it found.")

        return _do(request, agree)
    if breaker.waiting() != run:
        messages.warning(request, _("This reconciliation waits for nobody any more. Nothing was changed."))
        return _to_overview()
    rows = breaker.to_mend(run)
    counts = rows.order_by().values_list("type").annotate(n=Count("pk")).order_by("-n", "type")
    newest = Discrepancy.objects.filter(pk__in=rows.values("pk")).select_related("organization")
    return TemplateResponse(
        request,
        "adminops/reconciliation/agree.html",
        {
            **admin.site.each_context(request),
            "title": _("Let it go on"),
            "run": run,
            "holds_events_back": breaker.holds_events_back(run),
            "organizations": rows.order_by().values("organization_id").distinct().count(),
            "counts": [(CHECKS[type_], n) for type_, n in counts],
            "total": sum(n for _type, n in counts),
            "examples": [shown(row) for row in newest[:EXAMPLES]],
            "back_url": reverse("admin:reconciliation"),
        },
    )


def _run(run_id: int) -> ReconciliationRun:
    run = ReconciliationRun.objects.filter(pk=run_id).first()
    if run is None:
        raise Http404
    return run


def _do(request: HttpRequest, act: Callable[[], str]) -> HttpResponse:
    """Do it unless it is too often or cannot be, and say so either way."""
    usage = limits.count(request, group="reconciliation", rate=RATE)
    if usage.exceeded:
        said = _("That was too often in a minute. Nothing was changed; try again in %(n)d seconds.")
        messages.warning(request, said % {"n": usage.seconds_left})
        return _to_overview()
    try:
        messages.success(request, act())
    except OperationRefused as refusal:
        messages.warning(request, str(refusal))
    return _to_overview()


def _to_overview() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:reconciliation"))
