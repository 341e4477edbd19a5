"""The demo's history: lived at the sandbox by its own clock, the same for the same seed, and never elsewhere."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from adminops.demo.history.__main__ import live, main
from adminops.demo.history.companies import COMPANIES, Company
from adminops.demo.history.shop import NotASandbox, Shop, refuse_reason
from adminops.demo.history.stories import STORIES
from tests.conftest import Sandbox

UNTIL = int(datetime(2026, 9, 30, 12, tzinfo=UTC).timestamp())


def every(sandbox: Sandbox, path: str, **params: Any) -> list[dict[str, Any]]:
    """All objects of a list."""
    found: list[dict[str, Any]] = []
    while True:
        page: Any = sandbox.client.raw_request("get", f"/v1/{path}", limit=100, **params).data
        found += page["data"]
        if not page["has_more"]:
            return found
        params["starting_after"] = found[-1]["id"]


def named(name: str) -> Company:
    return next(company for company in COMPANIES if company.name == name)


def lived(sandbox: Sandbox, *names: str, seed: int = 1) -> list[tuple[Any, ...]]:
    """What a few companies have been billed, and when, without the ids, which nobody can foretell."""
    sandbox.control("POST", "reset")
    with Shop(sandbox.url) as shop:
        live(shop, UNTIL, seed=seed, companies=[named(name) for name in names])
    return sorted(
        (each["created"], each["total"], each["currency"], each["status"])
        for each in every(sandbox, "invoices")
    )


def test_sixty_companies_come_out_as_a_business_would(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--api", sandbox.url]) == 0
    assert "60 companies lived through 18 months" in capsys.readouterr().out

    subscriptions = every(sandbox, "subscriptions", status="all")
    assert Counter(each["status"] for each in subscriptions) == {
        "active": 47,
        "past_due": 5,
        "trialing": 3,
        "canceled": 5,
    }
    assert sum(each["cancel_at_period_end"] for each in subscriptions if each["status"] == "active") == 3
    assert Counter(each["currency"] for each in subscriptions).keys() == {"usd", "eur", "jpy"}
    customers = {each["id"]: each for each in every(sandbox, "customers")}
    assert len(customers) == 60
    by_name = {customers[each["customer"]]["name"]: each for each in subscriptions}
    (seats,) = by_name["Northwind Labs"]["items"]["data"]
    assert (seats["quantity"], seats["price"]["unit_amount"], by_name["Northwind Labs"]["status"]) == (
        8,
        2900,
        "active",
    )
    assert by_name["Aiko Sushi KK"]["status"] == "past_due"
    assert by_name["Aiko Sushi KK"]["currency"] == "jpy"
    assert len(by_name["Tidewater Insurance Partners"]["items"]["data"]) == 2
    assert {each["amount"] for each in every(sandbox, "refunds")}
    assert [each["status"] for each in every(sandbox, "disputes")] == ["needs_response"]
    invoices = every(sandbox, "invoices")
    assert (
        max(each["created"] for each in invoices) - min(each["created"] for each in invoices) > 510 * 86_400
    )
    assert any(line["amount"] < 0 for each in invoices for line in each["lines"]["data"]), (
        "no seat was ever given back"
    )


def test_afterwards_the_clock_runs_with_the_real_one(sandbox: Sandbox) -> None:
    assert main(["--api", sandbox.url]) == 0

    clock = sandbox.control("GET", "clock")

    assert clock["frozen"] is False
    assert abs(clock["now"] - time.time()) < 5


def test_the_same_seed_lives_the_same_history_and_another_does_not(sandbox: Sandbox) -> None:
    names = ("Harborline Freight", "Cobalt Robotics", "Ljungström Industri AB", "Sakura Denki KK")

    first = lived(sandbox, *names, seed=3)

    assert len(first) > 50
    assert lived(sandbox, *names, seed=3) == first
    assert lived(sandbox, *names, seed=4) != first


def test_a_sandbox_with_customers_is_left_as_it_is(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.client.v1.customers.create({"name": "Here first"})

    assert main(["--api", sandbox.url]) == 0

    assert "left as it is" in capsys.readouterr().out
    assert [each["name"] for each in every(sandbox, "customers")] == ["Here first"]


@pytest.mark.parametrize(
    ("api", "key"),
    [
        ("https://api.stripe.com", "sk_test_sandboxsandboxsandbox"),
        ("http://127.0.0.1.example.com", "sk_test_sandboxsandboxsandbox"),
        ("http://10.0.0.7:12111", "sk_test_sandboxsandboxsandbox"),
        ("", "sk_test_sandboxsandboxsandbox"),
        ("http://127.0.0.1:12111", "sk_live_sandboxsandboxsandbox"),
        ("http://127.0.0.1:12111", ""),
    ],
)
def test_only_a_sandbox_on_this_machine_with_a_test_key_will_do(
    api: str, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", key)

    assert refuse_reason(api, key)
    with pytest.raises(NotASandbox):
        Shop(api)
    assert main(["--api", api]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_where_nothing_answers_it_says_so_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--api", "http://127.0.0.1:9"]) == 2

    assert "does not answer" in capsys.readouterr().err


def test_every_story_is_somebodys_and_no_two_companies_are_the_same() -> None:
    assert {company.story for company in COMPANIES} == set(STORIES)
    assert len({company.slug for company in COMPANIES}) == len(COMPANIES) == 60
    assert len({company.name for company in COMPANIES}) == 60
