"""Eighteen months in the life of a software company's sixty customers, lived by the sandbox Stripe in seconds.

Nothing is typed into tables: each company does its business through Stripe's API at its own moments, and the sandbox
moves its clock in between, so that renewals, retries and cancellations happen by themselves.

    shop        the sandbox: its API and its clock
    companies   who the customers are
    stories     what each kind of customer does, and when
"""
