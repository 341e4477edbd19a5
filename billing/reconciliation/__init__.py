"""Reconciliation: what Stripe says held against what we hold; what is safe is mended, the rest is shown.

`runs` starts and carries on; `listing` and `replay` read Stripe; `comparing` holds the `checks` against it; `mending`
acts by each check's policy, `settling` by what a person decides; `telling` puts it into words
(docs/decisions/reconciliation.md).
"""
