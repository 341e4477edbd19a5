"""`python -m adminops.demo.history --api URL [--until now] [--seed N]`."""

from __future__ import annotations

import argparse
import datetime
import heapq
import sys
import time
from collections.abc import Sequence
from random import Random

import httpx

from adminops.demo.history.companies import COMPANIES, Company
from adminops.demo.history.shop import NotASandbox, Shop
from adminops.demo.history.stories import DAY, STORIES, Catalogue, Life, Story, months_before

MONTHS = 18


def live(
    shop: Shop, until: int | None = None, *, seed: int = 1, companies: Sequence[Company] = COMPANIES
) -> None:
    """Let the companies live, from 18 months before `until` (unix seconds; None: the present) up to then."""
    end = until or int(time.time())
    shop.set_clock(months_before(end, MONTHS) - DAY)
    catalogue = Catalogue(shop)
    acts: list[tuple[int, int, Story]] = []
    for number, company in enumerate(companies):
        life = Life(company, shop, catalogue, until=end, random=Random(f"{seed}:{company.slug}"))  # noqa: S311
        story = STORIES[company.story](life)
        heapq.heappush(acts, (next(story), number, story))
    while acts:
        moment, number, story = heapq.heappop(acts)
        if moment >= end:
            continue
        shop.move_clock(moment)
        following = next(story, None)
        if following is not None:
            heapq.heappush(acts, (following, number, story))
    shop.move_clock(until or int(time.time()))
    shop.release_clock()


def _moment(text: str) -> int | None:
    if text == "now":
        return None
    moment = datetime.datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns 0 when the history is there, 2 when it cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m adminops.demo.history", description=__doc__)
    parser.add_argument("--api", required=True, help="the address of the sandbox Stripe")
    parser.add_argument("--until", type=_moment, default="now", help="`now`, or an ISO date at which to stop")
    parser.add_argument("--seed", type=int, default=1, help="another number, another history")
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        with Shop(chosen.api) as shop:
            if shop.get("customers", limit=1)["data"]:
                print("This sandbox has customers already, so it is left as it is.")
                return 0
            live(shop, chosen.until, seed=chosen.seed)
    except NotASandbox as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except httpx.HTTPError as error:
        print(f"The sandbox Stripe at {chosen.api} does not answer as one: {error}", file=sys.stderr)
        return 2
    print(
        f"{len(COMPANIES)} companies lived through {MONTHS} months in {time.monotonic() - began:.1f} s"
        f" ({shop.calls} calls)."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
