"""Stripe's door."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webhooks"

    def ready(self) -> None:
        """Lend the reconciliation, which lies below, what only this door knows: what an event means to us."""
        from billing.reconciliation.replay import take_in_with
        from webhooks.backfill import take_in

        take_in_with(take_in)
