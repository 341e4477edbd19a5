"""What the customer page shows, a module for each of its parts; `page` puts them together.

Everything comes from our own database, and nothing waits for Stripe.
"""

from adminops.pages.customer.page import CustomerPage

__all__ = ["CustomerPage"]
