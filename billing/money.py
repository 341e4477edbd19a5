"""Money for people: minor units and an ISO currency in, words out. Arithmetic stays in integers elsewhere."""

from __future__ import annotations

from decimal import Decimal

from django.utils import formats

# https://docs.stripe.com/currencies#zero-decimal and #three-decimal
ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())

_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


def minor_digits(currency: str) -> int:
    """How many decimals the currency's minor unit has: 0 for JPY, 3 for KWD, else 2."""
    code = currency.lower()
    if code in ZERO_DECIMAL:
        return 0
    return 3 if code in THREE_DECIMAL else 2


def format_money(amount: int, currency: str) -> str:
    """`amount` minor units as a person writes it: "$1,348.00", "¥24,500", "−€9.50", "KWD 1.234"."""
    digits = minor_digits(currency)
    number = formats.number_format(
        Decimal(abs(amount)).scaleb(-digits), decimal_pos=digits, use_l10n=True, force_grouping=True
    )
    symbol = _SYMBOLS.get(currency.lower())
    sign = "−" if amount < 0 else ""
    return f"{sign}{symbol}{number}" if symbol else f"{sign}{currency.upper()} {number}"
