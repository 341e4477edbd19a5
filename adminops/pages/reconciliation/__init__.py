"""Reconciliation on the screen: where we stand, what differs and what is done about it, and each run.

`overview` is the page one opens in the morning, `run_page` one run, `acts` starting and stopping, `settle` what a
person decides about differences. What is compared and how a run goes is `billing.reconciliation`'s.
"""
