"""Money: integers of minor units, exact fractions in between, one rounding at the end."""

from fractions import Fraction

ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split())
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())
KNOWN = (
    ZERO_DECIMAL
    | THREE_DECIMAL
    | frozenset(
        "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd btn bwp byn bzd cad cdf chf "
        "cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel ghs gip gmd gtq gyd hkd hnl htg huf idr ils inr "
        "isk jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio "
        "nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sek sgd shp sle sos srd std szl thb tjs top "
        "try ttd twd tzs uah uyu uzs wst xcd yer zar zmw".split()
    )
)
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "aud": "A$", "cad": "CA$", "inr": "₹"}
MINIMUM = {
    "usd": 50,
    "eur": 50,
    "gbp": 30,
    "jpy": 50,
    "chf": 50,
    "aud": 50,
    "cad": 50,
    "sek": 300,
    "nok": 300,
}
LARGEST_CHARGE = 99_999_999


def places(currency: str) -> int:
    """How many digits of the minor unit a currency has."""
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def round_half_up(amount: Fraction) -> int:
    """The nearest whole minor unit; a half goes away from zero, so that a credit and its charge cancel."""
    size = int(abs(amount) + Fraction(1, 2))
    return -size if amount < 0 else size


def shown(amount: Fraction | int, currency: str) -> str:
    """An amount of minor units as Stripe writes it in descriptions and errors: $25.00, ¥2,500."""
    digits = places(currency)
    major = Fraction(amount) / 10**digits
    exact = f"{round_half_up(abs(major) * 10**12):013d}"
    fraction = exact[-12:].rstrip("0").ljust(digits, "0")
    body = f"{int(exact[:-12]):,}" + (f".{fraction}" if fraction else "")
    sign = "-" if amount < 0 else ""
    symbol = SYMBOLS.get(currency)
    return f"{sign}{symbol}{body}" if symbol else f"{sign}{body} {currency.upper()}"
