"""Money never meets a float: amounts are whole minor units, and what a person types is read by Decimal."""

import ast
from pathlib import Path

import pytest
from django.conf import settings

# Where an amount is read, reckoned, asked of Stripe or shown; billing/metrics.py divides, in exact fractions.
PATHS = (
    "billing/authority.py",
    "billing/money.py",
    "billing/projection.py",
    "billing/operations/*.py",
    "adminops/pages/operations/refund.py",
    "adminops/pages/operations/seats.py",
)
# What these wait for is time, not money.
SECONDS = {"billing/operations/intent.py"}


def modules() -> list[Path]:
    found = [path for pattern in PATHS for path in sorted(settings.BASE_DIR.glob(pattern))]
    return [path for path in found if str(path.relative_to(settings.BASE_DIR)) not in SECONDS]


def floats_in(source: str) -> list[str]:
    """Each place where a float could come from: a literal, `float`, a true division."""
    found = []
    for node in ast.walk(ast.parse(source)):
        is_literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
        is_name = isinstance(node, ast.Name) and node.id == "float"
        is_division = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
        if is_literal or is_name or is_division:
            found.append(f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(settings.BASE_DIR)))
def test_there_is_no_float_on_the_way_of_money(path: Path) -> None:
    assert floats_in(path.read_text()) == []


@pytest.mark.parametrize("source", ["x = 0.5", "float(x)", "x / 100", "x /= 2", "def f(x: float): ..."])
def test_a_float_would_be_found(source: str) -> None:
    assert floats_in(source)
