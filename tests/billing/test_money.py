"""Money in words."""

import pytest

from billing.errors import OperationRefused
from billing.money import format_money, parse_amount


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


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("19.99", "usd", 1999),
        ("19,99", "eur", 1999),
        ("19.9", "usd", 1990),
        ("19", "usd", 1900),
        (" 0.01 ", "usd", 1),
        ("1 000,50", "eur", 100_050),
        ("1\u202f000,50", "eur", 100_050),
        ("1,000.50", "usd", 100_050),
        ("1.000,50", "eur", 100_050),
        ("1'000.50", "usd", 100_050),
        ("1,000", "usd", 100_000),
        ("1.000.000", "eur", 100_000_000),
        ("$29.00", "usd", 2900),
        ("29.00 USD", "usd", 2900),
        ("¥500", "jpy", 500),
        ("1,000", "jpy", 1000),
        ("12.345", "kwd", 12_345),
        ("KWD 12.3", "kwd", 12_300),
        ("1,234.567", "kwd", 1_234_567),
        ("100000000000.01", "usd", 10_000_000_000_001),
        ("0019.99", "usd", 1999),
        (".5", "usd", 50),
        (",50", "eur", 50),
        ("5.", "usd", 500),
        ("１９．５０", "usd", 1950),
        ("￥５００", "jpy", 500),
        ("￥500", "jpy", 500),
    ],
)
def test_an_amount_is_what_was_written_to_the_minor_unit(text: str, currency: str, amount: int) -> None:
    assert parse_amount(text, currency) == amount


@pytest.mark.parametrize(
    ("text", "currency", "sentence"),
    [
        ("0", "usd", "A refund of nothing"),
        ("0.00", "usd", "A refund of nothing"),
        ("0,0", "eur", "A refund of nothing"),
        ("0", "jpy", "A refund of nothing"),
        ("-5", "usd", "without a minus"),
        ("\u22125", "usd", "without a minus"),
        ("1e9", "usd", "is not an amount"),
        ("+5", "usd", "is not an amount"),
        ("ten", "usd", "is not an amount"),
        ("", "usd", "is not an amount"),
        (".", "usd", "is not an amount"),
        ("5²", "usd", "is not an amount"),
        ("½", "usd", "is not an amount"),
        (".5", "jpy", "has no decimals"),
        ("－5", "usd", "without a minus"),
        ("nan", "usd", "is not an amount"),
        ("0x10", "usd", "is not an amount"),
        ("1 0000", "usd", "is not an amount"),
        ("19.99 19.99", "usd", "is not an amount"),
        ("€5", "usd", "This invoice is in USD"),
        ("¥500", "usd", "This invoice is in USD"),
        ("￥500", "usd", "This invoice is in USD"),
        ("5 EUR", "usd", "This invoice is in USD"),
        ("eur 5", "usd", "This invoice is in USD"),
        ("$500", "jpy", "This invoice is in JPY"),
        ("12.34", "jpy", "has no decimals"),
        ("1.000", "jpy", "has no decimals"),
        ("12.345", "usd", "at most 2 decimals"),
        ("0,500", "usd", "at most 2 decimals"),
        ("12.3456", "kwd", "at most 3 decimals"),
        ("12,345", "kwd", "read in two ways"),
        ("1,000,50", "usd", "read in two ways"),
        ("9" * 40, "usd", "too large"),
    ],
)
def test_what_is_no_amount_gets_a_sentence(text: str, currency: str, sentence: str) -> None:
    with pytest.raises(OperationRefused, match=sentence):
        parse_amount(text, currency)


def test_what_is_shown_can_be_typed() -> None:
    for currency in ("usd", "eur", "gbp", "jpy", "kwd", "chf"):
        for amount in (1, 999, 2900, 134_800, 10**12 + 7):
            assert parse_amount(format_money(amount, currency), currency) == amount


def test_a_thousand_amounts_with_two_decimals_are_never_a_cent_off() -> None:
    for amount in range(1, 100_000, 97):
        assert parse_amount(f"{amount // 100}.{amount % 100:02}", "usd") == amount
