"""Tests in which a chance decides: its seed is the test's parameter, so that a failing one can be played again.

30 seeds, or as many as MONEY_SEEDS says, from MONEY_FIRST_SEED on (`make soak`). A failing test names its seed:
`-k seed17` plays it again, after MONEY_FIRST_SEED=17 if it is beyond 30.
"""

import os

import pytest

FIRST = int(os.environ.get("MONEY_FIRST_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("MONEY_SEEDS", "30")))

seeded = pytest.mark.parametrize("seed", SEEDS, ids="seed{}".format)
