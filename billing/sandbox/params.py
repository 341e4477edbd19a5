"""The parameters an endpoint accepts, declared as a shape and parsed with Stripe's own refusals.

A shape is a map of names to parsers; a nested map is a nested shape. A parser takes the decoded value and its full
name and returns the typed value. An empty string unsets, and is None to the handler.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

from billing.sandbox.errors import ApiError, malformed
from billing.sandbox.errors import required as missing_param

Parser = Callable[[Any, str], Any]
Shape = dict[str, Any]
LARGEST = 2**53
METADATA_KEYS = 50


def text_of(most: int) -> Parser:
    """A string of so many characters at most."""

    def parse(value: Any, name: str) -> Any:
        if not isinstance(value, str):
            raise malformed(f"Invalid string: {value}", param=name, code="parameter_invalid_string_empty")
        if len(value) > most:
            raise malformed(
                f"Invalid string: {value[:10]}...{value[-10:]}; must be at most {most} characters", param=name
            )
        return value or None

    parse.__dict__["most"] = most
    return parse


text = text_of(5000)
ADDRESS_SIGNS = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


def email_of(most: int) -> Parser:
    """An e-mail address of so many characters at most."""
    string = text_of(most)

    def parse(value: Any, name: str) -> Any:
        address = string(value, name)
        if address and not ADDRESS_SIGNS.fullmatch(address):
            raise malformed(f"Invalid email address: {address}", param=name, code="email_invalid")
        return address

    parse.__dict__["most"] = most
    return parse


email = email_of(5000)


def integer(value: Any, name: str) -> Any:
    """A whole number, of either sign."""
    digits = value[1:] if isinstance(value, str) and value[:1] == "-" else value
    if not (isinstance(value, str) and digits.isascii() and digits.isdigit()) or abs(int(value)) > LARGEST:
        raise malformed(f"Invalid integer: {value}", param=name, code="parameter_invalid_integer")
    return int(value)


def natural(value: Any, name: str) -> Any:
    """A whole number from 0."""
    number = integer(value, name)
    if number < 0:
        raise malformed(
            "This value must be greater than or equal to 0.", param=name, code="parameter_invalid_integer"
        )
    return number


def positive(value: Any, name: str) -> Any:
    """A whole number from 1."""
    number = integer(value, name)
    if number < 1:
        raise malformed(
            "This value must be greater than or equal to 1.", param=name, code="parameter_invalid_integer"
        )
    return number


def decimal(value: Any, name: str) -> Any:
    """A decimal number with at most twelve places, kept as the string Stripe shows."""
    try:
        if "e" in value.lower() or "/" in value or len(value.partition(".")[2]) > 12:
            raise ValueError
        Fraction(value)
    except (ValueError, AttributeError, ZeroDivisionError):
        raise malformed(f"Invalid decimal: {value}", param=name, code="parameter_invalid_integer") from None
    whole, _, places = value.partition(".")
    return f"{whole}.{places.rstrip('0')}".rstrip(".")


def boolean(value: Any, name: str) -> Any:
    """true or false."""
    if value not in ("true", "false"):
        raise malformed(f"Invalid boolean: {value}", param=name)
    return value == "true"


def choice(*allowed: str) -> Parser:
    """One of a few words."""

    def parse(value: Any, name: str) -> Any:
        if value not in allowed:
            words = ", ".join(allowed[:-1]) + (" or " if len(allowed) > 1 else "") + allowed[-1]
            raise malformed(f"Invalid {name}: must be one of {words}", param=name)
        return value

    return parse


def list_of(item: Any) -> Parser:
    """A list; an empty string is an empty list."""

    def parse(value: Any, name: str) -> Any:
        if value == "":
            return []
        if not isinstance(value, list):
            raise malformed(f"Invalid array: {name}", param=name)
        return [parse_value(item, each, f"{name}[{index}]") for index, each in enumerate(value)]

    return parse


def either(*parsers: Any) -> Parser:
    """The first parser that takes it."""

    def parse(value: Any, name: str) -> Any:
        for parser in parsers[:-1]:
            # The last parser's refusal is the one to show.
            with suppress(ApiError):
                return parse_value(parser, value, name)
        return parse_value(parsers[-1], value, name)

    return parse


def required(item: Any) -> Parser:
    """Has to be there."""

    def parse(value: Any, name: str) -> Any:
        if value == "":
            raise malformed(
                f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a "
                f"parameter; however '{name}' cannot be unset.",
                param=name,
                code="parameter_invalid_empty",
            )
        return parse_value(item, value, name)

    parse.__dict__["required"] = True
    return parse


def metadata(value: Any, name: str) -> Any:
    """Up to 50 keys of 40 characters with values of 500; None asks to forget all of it."""
    if value == "":
        return None
    if isinstance(value, list):
        value = {str(index): each for index, each in enumerate(value)}
    if not isinstance(value, dict):
        raise malformed(f"Invalid hash: {name}", param=name)
    if len(value) > METADATA_KEYS:
        raise malformed(f"Metadata can have up to {METADATA_KEYS} keys", param=name)
    for key, each in value.items():
        if not isinstance(each, str):
            raise malformed("Metadata values must be strings", param=f"{name}[{key}]")
        if len(key) > 40:
            raise malformed(f"Metadata keys can have up to 40 characters: {key}", param=name)
        if len(each) > 500:
            raise malformed("Metadata values can have up to 500 characters", param=f"{name}[{key}]")
    return value


def anything(value: Any, name: str) -> Any:
    """Accepted as it comes."""
    return value


def moments(value: Any, name: str) -> Any:
    """A unix time, or a range `{gt, gte, lt, lte}` of them."""
    if isinstance(value, str):
        return {"gte": integer(value, name), "lte": integer(value, name)}
    return parse_value({"gt": integer, "gte": integer, "lt": integer, "lte": integer}, value, name)


def parse_value(parser: Any, value: Any, name: str) -> Any:
    """Parse one value by a parser or by a nested shape."""
    if isinstance(parser, dict):
        if value == "":
            return None
        if not isinstance(value, dict):
            raise malformed(f"Invalid object: {name}", param=name)
        return parse_shape(parser, value, name)
    return parser(value, name)


def parse_shape(shape: Shape, values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Parse a map of parameters, refusing what the shape does not name."""
    parsed: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}[{key}]" if prefix else key
        parser = shape.get(key)
        if parser is None:
            raise malformed(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")
        parsed[key] = parse_value(parser, value, name)
    for key, parser in shape.items():
        if key not in parsed and getattr(parser, "required", False):
            raise missing_param(f"{prefix}[{key}]" if prefix else key)
    return parsed


def merged(present: dict[str, str], change: dict[str, str] | None) -> dict[str, str]:
    """Metadata after a change: keys are added or replaced, empty values remove, None clears."""
    if change is None:
        return {}
    after = {key: value for key, value in {**present, **change}.items() if value != ""}
    if len(after) > METADATA_KEYS:
        raise malformed(f"Metadata can have up to {METADATA_KEYS} keys", param="metadata")
    return after
