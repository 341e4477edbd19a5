"""The mirror of Stripe in dj-stripe's tables: the one package that touches its models.

`writing` puts objects in, under the customer's lease; `customers` and `payments` read them out again. Readers return
Stripe-shaped dicts, as Stripe sent them: amounts in minor units, times in unix seconds.
"""

from billing.mirror.customers import (
    customer,
    forget_detached,
    knows_payment_method,
    payment_methods_of,
    products_named_in,
    subscription,
    subscriptions_of,
    subscriptions_of_many,
    with_products,
)
from billing.mirror.payments import (
    charges_of,
    charges_of_invoices,
    charges_with_refunds,
    count_invoices_of,
    customer_of_charge,
    disputes_of,
    disputes_of_charges,
    has_paid_invoice,
    invoice_of,
    invoice_of_charge,
    invoices_by_key,
    invoices_of,
    open_invoices_of,
    open_invoices_of_many,
    paid_invoice,
    paid_invoices_of,
    refunds_of,
    refunds_of_charges,
    revenue_of,
    unpaid_invoices_of,
)
from billing.mirror.tables import MIRRORED_MODELS, customer_of, has_field, known
from billing.mirror.writing import upsert

__all__ = [
    "MIRRORED_MODELS",
    "charges_of",
    "charges_of_invoices",
    "charges_with_refunds",
    "count_invoices_of",
    "customer",
    "customer_of",
    "customer_of_charge",
    "disputes_of",
    "disputes_of_charges",
    "forget_detached",
    "has_field",
    "has_paid_invoice",
    "invoice_of",
    "invoice_of_charge",
    "invoices_by_key",
    "invoices_of",
    "known",
    "knows_payment_method",
    "open_invoices_of",
    "open_invoices_of_many",
    "paid_invoice",
    "paid_invoices_of",
    "payment_methods_of",
    "products_named_in",
    "refunds_of",
    "refunds_of_charges",
    "revenue_of",
    "subscription",
    "subscriptions_of",
    "subscriptions_of_many",
    "unpaid_invoices_of",
    "upsert",
    "with_products",
]
