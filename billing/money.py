"""Money for people: minor units and an ISO currency in, words out, and back. Arithmetic stays in integers elsewhere."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from django.utils import formats
from django.utils.translation import gettext as _

from billing.errors import OperationRefused

# ISO 4217, https://docs.stripe.com/currencies#presentment-currencies; with those that are gone and old invoices are in.
CURRENCIES = frozenset(
    """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp byn
    bzd cad cdf chf clf clp cny cop crc cup cve czk djf dkk dop dzd egp ern etb eur fjd fkp gbp gel
    ghs gip gmd gnf gtq gyd hkd hnl hrk htg huf idr ils inr iqd irr isk jmd jod jpy kes kgs khr kmf
    kpw krw kwd kyd kzt lak lbp lkr lrd lsl ltl lvl lyd mad mdl mga mkd mmk mnt mop mro mru mur mvr
    mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar
    sbd scr sdg sek sgd shp sle sll sos srd ssp std stn svc syp szl thb tjs tmt tnd top try ttd twd
    tzs uah ugx usd uyu uzs ved ves vnd vuv wst xaf xcd xcg xof xpf yer zar zmw zwg
    """.split()
)
# https://docs.stripe.com/currencies#zero-decimal and #three-decimal
ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())
# Of three decimals Stripe moves two: "these API calls require the least-significant (last) digit to be 0".
_STEP_OF_THREE_DECIMALS = 10
# Written with two decimals that must be 00: https://docs.stripe.com/currencies#special-cases
WHOLE_ONLY = frozenset({"isk", "ugx"})
_STEP_OF_WHOLE_ONLY = 100

_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}

# Groups of three with one separator between them, or none; then decimals after another.
_WRITTEN = re.compile(
    r"(?P<whole>[1-9][0-9]{0,2}(?:(?P<group>[ ,.'])[0-9]{3})(?:(?P=group)[0-9]{3})*|[0-9]+|(?=[.,][0-9]))"
    r"(?:(?P<point>[.,])(?P<part>[0-9]*))?"
)
_MINUS = re.compile(r"[-−–—]")
# Another currency's sign, or three letters before or after the number.
_FOREIGN = re.compile(r"[$€£¥₩₹₽₺₫₪฿]|^[A-Za-z]{3}(?![A-Za-z])|(?<![A-Za-z])[A-Za-z]{3}$")
_MOST_DIGITS = 15


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


def parse_amount(text: str, currency: str) -> int:
    """The minor units that a person wrote: "19.99", "1 000,50", "¥500", "12.345" KWD.

    Raises OperationRefused, with a sentence, for what is nothing, negative, too exact for the currency, in another
    currency, no number, or to be read in two ways. Nothing is rounded and nothing is guessed. Empty is no amount; ".5"
    and "5." are.
    """
    digits = minor_digits(currency)
    bare = " ".join(_without_currency(_narrow(text), currency).replace("’", "'").split())
    if _MINUS.search(bare):
        raise OperationRefused(
            _("Write the amount without a minus: what is given back is more than nothing.")
        )
    written = _WRITTEN.fullmatch(bare)
    if written is None and _FOREIGN.search(bare) and any(char.isdigit() for char in bare):
        raise OperationRefused(
            _("This invoice is in %(currency)s. Write the amount in it, such as %(example)s.")
            % {"currency": currency.upper(), "example": _example(digits)}
        )
    if written is None:
        raise OperationRefused(
            _("“%(text)s” is not an amount. Write it in digits, such as %(example)s.")
            % {"text": text.strip(), "example": _example(digits)}
        )
    whole, part = _whole_and_part(written, digits, text.strip())
    if len(part) > digits:
        raise OperationRefused(
            _("An amount in %(currency)s has no decimals. Write it such as %(example)s.")
            % {"currency": currency.upper(), "example": _example(digits)}
            if digits == 0
            else _("An amount in %(currency)s has at most %(digits)s decimals, such as %(example)s.")
            % {"currency": currency.upper(), "digits": digits, "example": _example(digits)}
        )
    if len(whole) > _MOST_DIGITS:
        raise OperationRefused(_("This amount is too large."))
    amount = int(Decimal(f"{whole or 0}.{part or 0}").scaleb(digits))
    if amount == 0:
        raise OperationRefused(_("A refund of nothing is no refund. Write how much goes back."))
    return amount


def payable(amount: int, currency: str) -> int:
    """The most of `amount` minor units that Stripe can move: of three decimals the last is 0, in ISK and UGX both."""
    return amount - amount % _step(currency)


def check_payable(amount: int, currency: str) -> None:
    """Raises OperationRefused, with a sentence, for minor units that Stripe cannot move in this currency."""
    if amount != payable(amount, currency):
        if currency.lower() in WHOLE_ONLY:
            raise OperationRefused(
                _("Stripe moves %(currency)s in whole amounts only, such as %(example)s.")
                % {"currency": currency.upper(), "example": _example(0)}
            )
        raise OperationRefused(
            _("In %(currency)s the last digit must be 0, such as %(example)s.")
            % {"currency": currency.upper(), "example": _example(minor_digits(currency))}
        )


def _step(currency: str) -> int:
    if currency.lower() in WHOLE_ONLY:
        return _STEP_OF_WHOLE_ONLY
    return _STEP_OF_THREE_DECIMALS if minor_digits(currency) == 3 else 1


def _narrow(text: str) -> str:
    """With what Asian keyboards write at full width ("￥５００") as everybody else writes it."""
    return "".join(
        unicodedata.normalize("NFKC", char) if unicodedata.east_asian_width(char) == "F" else char
        for char in text
    )


def _without_currency(text: str, currency: str) -> str:
    """The number alone. Another currency's symbol or code stays, and makes it no number."""
    bare = text.strip()
    for name in filter(None, (_SYMBOLS.get(currency.lower()), currency.upper(), currency.lower())):
        if bare.startswith(name):
            return bare.removeprefix(name)
        if bare.endswith(name):
            return bare.removesuffix(name)
    return bare


def _whole_and_part(written: re.Match[str], digits: int, text: str) -> tuple[str, str]:
    """The digits before and after the decimal point."""
    whole, group, part = written["whole"], written["group"], written["part"] or ""
    if group is None or written["point"]:
        if group and group == written["point"]:
            raise OperationRefused(_two_ways(text))
        return re.sub(r"[^0-9]", "", whole), part
    if whole.count(group) == 1:
        # "1.000", "1,000": a group to some, decimals to others.
        if group == ".":
            head, _point, tail = whole.partition(".")
            return head, tail
        if group == "," and digits == 3:
            raise OperationRefused(_two_ways(text))
    return re.sub(r"[^0-9]", "", whole), ""


def _two_ways(text: str) -> str:
    return _("“%(text)s” can be read in two ways. Write it without separators between thousands.") % {
        "text": text
    }


def _example(digits: int) -> str:
    return {0: "500", 2: "19.99", 3: "12.340"}[digits]
