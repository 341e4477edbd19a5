"""Who may come in, and why not: the decision, and its doors for products (docs/decisions/access.md).

`decision` decides, `reading` reads what it needs, `doors` has the middleware and the decorator of Django products that
share the database, `api` answers the others, `tokens` says who may ask, `activity` notes who was seen.
"""
