"""Money in words."""

import pytest

from billing.money import format_money


@pytest.mark.parametrize(
    ("amount", "currency", "words"),
    [
        (34_800, "usd", "$348.00"),
        (134_800, "USD", "$1,348.00"),
        (-950, "eur", "−€9.50"),
        (5, "gbp", "£0.05"),
        (24_500, "jpy", "¥24,500"),
        (1_234, "kwd", "KWD 1.234"),
        (0, "usd", "$0.00"),
        (10**15 + 1, "usd", "$10,000,000,000,000.01"),
    ],
)
def test_money_is_written_with_the_decimals_of_its_currency(amount: int, currency: str, words: str) -> None:
    assert format_money(amount, currency) == words
