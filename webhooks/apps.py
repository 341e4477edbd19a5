"""Stripe's door."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"

    def ready(self) -> None:
        """Lend those who lie below what only this door knows: what an event means to us."""
        from billing.late_meaning import interpret_with
        from billing.reconciliation.replay import take_in_with
        from webhooks.backfill import take_in
        from webhooks.handlers import interpret

        take_in_with(take_in)
        interpret_with(interpret)
