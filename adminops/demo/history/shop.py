"""The shop's side of the sandbox Stripe: its API, through Stripe's own client, and the clock only a sandbox has."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httpx
import stripe  # noqa: TID251  (a shop of its own, before there is a back office; it knows nothing of Django)

API_VERSION = "2026-05-27.dahlia"
TEST_KEY = re.compile(r"^[sr]k_test_\w{16,}$", re.ASCII)

type StripeObject = dict[str, Any]


class NotASandbox(Exception):
    """The address or the key could be a real Stripe's; the message says which, in a sentence."""


def refuse_reason(api: str, key: str) -> str | None:
    """Why nothing is made up at this address with this key; None where it can only be a sandbox on this machine."""
    host = urlsplit(api).hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        return f"This is made for a sandbox Stripe on this machine, and {api or 'no address'} is not one."
    if not TEST_KEY.match(key):
        return "STRIPE_SECRET_KEY must be a test key (sk_test_…)."
    return None


class Shop:
    """A sandbox Stripe, as its account's owner uses it."""

    def __init__(self, api: str) -> None:
        key = os.environ.get("STRIPE_SECRET_KEY", "")
        if reason := refuse_reason(api, key):
            raise NotASandbox(reason)
        self.calls = 0
        self._client = stripe.StripeClient(
            key, base_addresses={"api": api}, stripe_version=API_VERSION, max_network_retries=0
        )
        self._control = httpx.Client(base_url=f"{api.rstrip('/')}/_sandbox", timeout=120, trust_env=False)
        self.now = self._clock("GET")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()

    # -- the API ------------------------------------------------------------------------------------------

    def get(self, path: str, **params: Any) -> StripeObject:
        """Read. Raises stripe.StripeError."""
        return self._call("get", path, params)

    def post(self, path: str, **params: Any) -> StripeObject:
        """Make or change. Raises stripe.StripeError."""
        return self._call("post", path, params)

    def delete(self, path: str, **params: Any) -> StripeObject:
        """Delete, or cancel. Raises stripe.StripeError."""
        return self._call("delete", path, params)

    def _call(self, method: str, path: str, params: dict[str, Any]) -> StripeObject:
        self.calls += 1
        return cast(StripeObject, self._client.raw_request(method, f"/v1/{path}", **params).data)

    # -- what no real Stripe has --------------------------------------------------------------------------

    def move_clock(self, moment: int) -> None:
        """Live on until `moment` (unix seconds): renewals, retries and the like happen on the way."""
        if moment > self.now:
            self.now = self._clock("POST", now=moment)

    def set_clock(self, moment: int) -> None:
        """Begin at `moment` (unix seconds). Only while nothing exists may that be in the past."""
        self.now = self._clock("POST", now=moment)

    def release_clock(self) -> None:
        """Let the clock run from here."""
        self.now = self._clock("POST", release=True)

    def dispute(self, charge: str, reason: str) -> None:
        """Have the customer's bank take a payment back."""
        self._control.post("/disputes", json={"charge": charge, "reason": reason}).raise_for_status()

    def _clock(self, method: str, **body: Any) -> int:
        answer = self._control.request(method, "/clock", json=body or None)
        answer.raise_for_status()
        return int(answer.json()["now"])
