"""Attempts to pay: why one was declined, and which look as if they were made twice."""

from __future__ import annotations

from typing import Any

import pytest

from billing.attempts import decline_in_words, likely_duplicates


def charge(id_: str, at: int, **columns: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "created": at,
        "amount": 2900,
        "currency": "usd",
        "status": "succeeded",
        "payment_intent": f"pi_{id_}",
        "payment_method_details": {"card": {"fingerprint": "f1", "brand": "visa", "last4": "4242"}},
        **columns,
    }


def test_the_same_amount_on_the_same_card_within_minutes_looks_like_one_made_twice() -> None:
    assert likely_duplicates([charge("b", 1_120), charge("a", 1_000)]) == {"b": 120}


@pytest.mark.parametrize(
    "other",
    [
        {"amount": 2901},
        {"currency": "eur"},
        {"status": "failed"},
        {"payment_intent": "pi_a"},
        {"created": 1_601},
        {"payment_method_details": {"card": {"fingerprint": "f2", "brand": "visa", "last4": "4242"}}},
    ],
    ids=lambda columns: next(iter(columns)),
)
def test_what_differs_or_comes_later_does_not(other: dict[str, Any]) -> None:
    assert likely_duplicates([charge("a", 1_000), {**charge("b", 1_060), **other}]) == {}


def test_three_alike_are_two_too_many() -> None:
    assert set(likely_duplicates([charge(name, 1_000 + n) for n, name in enumerate("abc")])) == {"b", "c"}


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"outcome": {"reason": "insufficient_funds"}}, "the card has too little money on it"),
        ({"outcome": {"reason": "unheard_of"}, "failure_code": "expired_card"}, "the card has expired"),
        ({"failure_code": "new_code", "failure_message": "Something new."}, "Something new."),
        ({}, ""),
    ],
)
def test_a_decline_is_told_in_our_words_or_else_in_stripes(columns: dict[str, Any], why: str) -> None:
    assert decline_in_words(charge("a", 1, status="failed", **columns)) == why


def test_a_payment_that_went_through_was_not_declined() -> None:
    assert decline_in_words(charge("a", 1, outcome={"reason": "insufficient_funds"})) == ""
