"""A server on this machine that behaves like Stripe, for demos and tests. It knows nothing of the project."""

API_VERSION = "2026-05-27.dahlia"
