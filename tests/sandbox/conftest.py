"""A sandbox in a process of its own, and the unmodified client that talks to it over a socket."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import stripe

ROOT = Path(__file__).parents[2]
KEY = "sk_test_sandboxsandboxsandbox"


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A sandbox process and its control API."""

    def __init__(self, port: int, *arguments: str) -> None:
        self.base = f"http://127.0.0.1:{port}"
        if where := os.environ.get("SANDBOX_RECORD"):  # `make contract` checks what was said
            arguments = (*arguments, "--record", f"{where}/{os.getpid()}-{port}.jsonl")
        command = [sys.executable, "-m", "billing.sandbox", "--port", str(port), *arguments]
        self.sessions: list[requests.Session] = []
        self.process = subprocess.Popen(command, cwd=ROOT)
        self.control = httpx.Client(base_url=f"{self.base}/_sandbox", timeout=60)
        for _ in range(200):
            try:
                if self.control.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError("the sandbox did not start")

    def client(self, *, key: str = KEY, timeout: float = 30, **options: Any) -> stripe.StripeClient:
        """The real client, which retries nothing by itself unless told."""
        session = requests.Session()
        self.sessions.append(session)
        http = stripe.RequestsClient(timeout=timeout, session=session)
        options = {"max_network_retries": 0, "http_client": http, **options}
        return stripe.StripeClient(key, base_addresses={"api": self.base}, **options)

    def tell(self, path: str, /, **body: Any) -> Any:
        """POST to the control API."""
        answer = self.control.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(self, path: str) -> Any:
        """GET from the control API."""
        return self.control.get(path).json()

    def clock(self, now: int) -> None:
        """Freeze the clock at a moment, having let everything due happen."""
        self.tell("/clock", now=now)

    def stop(self) -> None:
        """As an operator would."""
        self.process.terminate()
        self.process.wait(10)
        self.close()

    def close(self) -> None:
        """Let go of every connection."""
        self.control.close()
        for session in self.sessions:
            session.close()


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Server]:
    server = Server(free_port())
    yield server
    server.stop()


@pytest.fixture
def sandbox(sandbox_process: Server) -> Server:
    """An empty world whose clock follows real time."""
    sandbox_process.tell("/reset")
    return sandbox_process


@pytest.fixture
def api(sandbox: Server) -> Any:
    """Version 1 of the API."""
    return sandbox.client().v1


class Shop:
    """A few lines of setup that most tests share."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def price(
        self, amount: int | str = 2500, *, currency: str = "usd", interval: str = "month", **more: Any
    ) -> Any:
        """A recurring price, of a product made along; a string is an amount with decimals."""
        unit = {"unit_amount": amount} if isinstance(amount, int) else {"unit_amount_decimal": amount}
        return self.api.prices.create(
            {
                "currency": currency,
                "recurring": {"interval": interval},
                "product_data": {"name": "Team"},
                **unit,
                **more,
            }
        )

    def customer(self, card: str | None = "pm_card_visa", **more: Any) -> Any:
        """A customer whose default payment method is a test card."""
        customer = self.api.customers.create({"email": "ada@example.com", "name": "Ada", **more})
        if card:
            self.give_card(customer.id, card)
        return customer

    def give_card(self, customer: str, card: str) -> Any:
        """Attach a card and make it the default."""
        method = self.api.payment_methods.attach(card, {"customer": customer})
        settings = {"default_payment_method": method.id}
        self.api.customers.update(customer, {"invoice_settings": settings})
        return method

    def subscription(self, quantity: int = 8, *, price: Any = None, customer: Any = None, **more: Any) -> Any:
        """A subscription with one item and its latest invoice expanded."""
        price = price or self.price()
        customer = customer or self.customer()
        items = [{"price": price.id, "quantity": quantity}]
        return self.api.subscriptions.create(
            {"customer": customer.id, "items": items, "expand": ["latest_invoice"], **more}
        )


@pytest.fixture
def shop(api: Any) -> Shop:
    return Shop(api)


def charge_of(api: Any, invoice: str) -> Any:
    """The charge that paid an invoice, found as dahlia wants it: by its payment and payment intent."""
    payment = api.invoice_payments.list({"invoice": invoice}).data[0]
    intent = api.payment_intents.retrieve(payment.payment.payment_intent, {"expand": ["latest_charge"]})
    return intent.latest_charge
