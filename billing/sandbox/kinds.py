"""The kinds of objects: what their ids look like, what they are found by, what is told when they change."""

# Kind of object -> (id prefix, leading digit, length of the random part, indexed fields).
KINDS: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "customer": ("cus_", "", 14, ("email",)),
    "product": ("prod_", "", 14, ()),
    "price": ("price_", "1", 23, ("product",)),
    "payment_method": ("pm_", "1", 23, ("customer",)),
    "subscription": ("sub_", "1", 23, ("customer",)),
    "subscription_item": ("si_", "", 14, ()),
    "invoice": ("in_", "1", 23, ("customer",)),
    "invoiceitem": ("ii_", "1", 23, ("customer",)),
    "line_item": ("il_", "1", 23, ()),
    "invoice_payment": ("inpay_", "1", 23, ("invoice",)),
    "payment_intent": ("pi_", "3", 23, ("customer",)),
    "charge": ("ch_", "3", 23, ("customer", "payment_intent")),
    "refund": ("re_", "3", 23, ("charge", "payment_intent")),
    "dispute": ("du_", "1", 23, ("charge",)),
    "balance_transaction": ("txn_", "3", 23, ("source",)),
    "customer_balance_transaction": ("cbtxn_", "1", 23, ("customer",)),
    "credit_note": ("cn_", "1", 23, ("customer", "invoice")),
    "credit_note_line_item": ("cnli_", "1", 23, ()),
    "coupon": ("", "", 8, ()),
    "promotion_code": ("promo_", "1", 23, ("customer",)),
    "discount": ("di_", "1", 23, ()),
    "subscription_schedule": ("sub_sched_", "1", 23, ("customer",)),
    "event": ("evt_", "1", 23, ()),
    "webhook_endpoint": ("we_", "1", 23, ()),
    "test_helpers.test_clock": ("clock_", "1", 23, ()),
    "billing_portal.configuration": ("bpc_", "1", 23, ()),
    "billing_portal.session": ("bps_", "1", 23, ()),
}
PREFIXES = {kind[0]: name for name, kind in KINDS.items() if kind[0]}
PAYMENT_EVENTS = ("payment_intent.", "charge.", "refund.")

UPDATED = {
    "customer": "customer.updated",
    "product": "product.updated",
    "price": "price.updated",
    "payment_method": "payment_method.updated",
    "subscription": "customer.subscription.updated",
    "invoice": "invoice.updated",
    "charge": "charge.updated",
    "refund": "refund.updated",
    "dispute": "charge.dispute.updated",
    "credit_note": "credit_note.updated",
    "coupon": "coupon.updated",
    "billing_portal.configuration": "billing_portal.configuration.updated",
    "promotion_code": "promotion_code.updated",
    "subscription_schedule": "subscription_schedule.updated",
}
