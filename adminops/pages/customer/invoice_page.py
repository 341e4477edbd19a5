"""One invoice of a customer: why it comes to what it comes to, and the ways to its documents at Stripe.

Stripe's links to an invoice's page and PDF expire (https://docs.stripe.com/invoicing/hosted-invoice-page), so they are
fetched when somebody follows ours. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from adminops.actions import offered
from adminops.pages.customer.invoices import invoice_rows
from adminops.pages.frame import page_context, to_the_list
from billing import mirror, stripe_api
from billing.errors import StripeError
from billing.explanations import explain
from billing.stripe_api import StripeObject
from organizations.models import Organization

TEMPLATE = "adminops/invoice.html"
VIEW, CHANGE = "organizations.view_organization", "organizations.change_organization"

# What Stripe calls the address of each document.
DOCUMENTS = {"page": "hosted_invoice_url", "pdf": "invoice_pdf"}


def invoice_urls(model_admin: Any) -> list[URLPattern]:
    """The pages of a customer's invoices."""
    wrap = model_admin.admin_site.admin_view
    return [
        path(
            "<int:object_id>/invoices/<str:invoice_id>/",
            wrap(_of_an_invoice(invoice_view)),
            name="organizations_organization_invoice",
        ),
        *(
            path(
                f"<int:object_id>/invoices/<str:invoice_id>/{document}/",
                wrap(_of_an_invoice(partial(document_view, document=document))),
                name=f"organizations_organization_invoice_{document}",
            )
            for document in DOCUMENTS
        ),
    ]


def may_see(user: Any) -> bool:
    """Whether these pages are for this person."""
    return bool(user.has_perm(VIEW) or user.has_perm(CHANGE))


def invoice_url(organization_id: int, invoice_id: str) -> str:
    """Our page of an invoice: why it comes to what it does."""
    return reverse("admin:organizations_organization_invoice", args=[organization_id, invoice_id])


def page_url(organization: Organization, invoice_id: str) -> str:
    """Our way to the page at Stripe where the invoice is paid."""
    return reverse("admin:organizations_organization_invoice_page", args=[organization.pk, invoice_id])


def invoice_view(request: HttpRequest, organization: Organization, invoice: StripeObject) -> HttpResponse:
    """Why this amount: the invoice's lines in sentences, from the mirror."""
    [row] = invoice_rows(organization, [invoice])
    refund = next(
        (each for each in offered(request.user, organization) if each.action.name == "refund_invoice"), None
    )
    return TemplateResponse(
        request,
        TEMPLATE,
        {
            **page_context(request, organization, _("Invoice %(number)s") % {"number": row.number}),
            "row": row,
            "invoice": invoice,
            "explanation": explain(invoice),
            "refund_url": refund.url if refund and not refund.refusal else "",
        },
    )


def document_view(
    request: HttpRequest, organization: Organization, invoice: StripeObject, *, document: str
) -> HttpResponse:
    """To the document at Stripe, by a link that was fetched just now."""
    try:
        url = stripe_api.retrieve(invoice["id"]).get(DOCUMENTS[document])
    except StripeError as error:
        messages.warning(request, str(error.message))
        return HttpResponseRedirect(_home(organization))
    if not url:
        messages.warning(
            request,
            _("Stripe has no page of this invoice yet: it makes one when the invoice becomes final."),
        )
        return HttpResponseRedirect(_home(organization))
    response = HttpResponseRedirect(url)
    # The address lets whoever has it see the invoice; where it leads need not know where it was followed.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _of_an_invoice(view: Callable[[HttpRequest, Organization, StripeObject], HttpResponse]) -> Any:
    """A view of an organization's invoice, by their ids; what is not there leads to where it might be found."""

    def found(request: HttpRequest, object_id: int, invoice_id: str) -> HttpResponse:
        if not may_see(request.user):
            raise PermissionDenied
        organization = Organization.objects.filter(pk=object_id).first()
        if organization is None:
            return to_the_list(request, Organization._meta, str(object_id))
        customer_id = organization.stripe_customer_id
        invoice = mirror.invoice_of(customer_id, invoice_id.replace("\0", "")) if customer_id else None
        if invoice is None:
            said = _("%(name)s has no invoice %(invoice)s. These are all we know of.")
            messages.warning(request, said % {"name": organization.name, "invoice": invoice_id[:255]})
            return HttpResponseRedirect(_home(organization))
        return view(request, organization, invoice)

    return found


def _home(organization: Organization) -> str:
    return f"{reverse('admin:organizations_organization_change', args=[organization.pk])}#invoices"
