"""The mirror of Stripe: which kinds have pages, what they are called, and the ModelAdmin of each."""

from __future__ import annotations

from dataclasses import dataclass

from django.apps import apps
from django.contrib import admin
from django.db.models import Model
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from adminops.admin.disputes import DisputeAdmin
from adminops.admin.invoices import InvoiceAdmin
from adminops.admin.mirrored import MirrorAdmin
from adminops.admin.payments import PaymentAdmin
from adminops.admin.refunds import RefundAdmin
from billing import mirror


@dataclass(frozen=True)
class MirrorPage:
    """How a mirrored model is called here. One without a name of ours is reached by address only."""

    title: str | Promise
    icon: str
    model_name: str
    in_navigation: bool = True


_PAGES = {
    "customer": (_("customer"), _("customers"), "apartment"),
    "subscription": (_("subscription"), _("subscriptions"), "autorenew"),
    "invoice": (_("invoice"), _("invoices"), "receipt_long"),
    "charge": (_("payment"), _("payments"), "credit_score"),
    "refund": (_("refund"), _("refunds"), "undo"),
    "dispute": (_("dispute"), _("disputes"), "gavel"),
    "paymentmethod": (_("payment method"), _("payment methods"), "credit_card"),
    "product": (_("product"), _("products"), "inventory_2"),
    "price": (_("price"), _("prices"), "sell"),
}


def _page(model: type[Model]) -> MirrorPage:
    name = str(model._meta.model_name)
    known = _PAGES.get(name)
    if known is None:
        return MirrorPage(str(model._meta.verbose_name_plural), "database", name, in_navigation=False)
    # Our words wherever the admin names the kind: above its pages, in counts and in messages.
    model._meta.verbose_name, model._meta.verbose_name_plural, icon = known
    return MirrorPage(capfirst(known[1]), icon, name)


# In the order of the navigation, then whatever else is mirrored.
_ORDER = list(_PAGES)
MIRROR_PAGES = sorted(
    (_page(model) for model in mirror.MIRRORED_MODELS),
    key=lambda page: _ORDER.index(page.model_name) if page.model_name in _PAGES else len(_ORDER),
)

# What breadcrumbs call it: not by the name of the package that keeps the tables.
apps.get_app_config("djstripe").verbose_name = _("Stripe mirror")

# Those with a list of their own; the others are found by their id.
_LISTS = {"invoice": InvoiceAdmin, "charge": PaymentAdmin, "refund": RefundAdmin, "dispute": DisputeAdmin}

for _model in mirror.MIRRORED_MODELS:
    admin.site.register(_model, _LISTS.get(str(_model._meta.model_name), MirrorAdmin))
