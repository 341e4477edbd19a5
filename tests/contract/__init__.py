"""The sandbox Stripe held against Stripe's own description of its API.

`make contract` records what the sandbox is asked, answers and tells, in its own tests, in the application's and in a
scripted life (`life.py`) that walks every endpoint, and checks each line of it. `make contract-live` runs a script
against Stripe.
"""
