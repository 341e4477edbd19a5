"""Balance transactions: what each movement of money leaves on the account's balance, and Stripe's fee."""

from fractions import Fraction

from billing.sandbox.money import round_half_up
from billing.sandbox.periods import DAY
from billing.sandbox.table import Object
from billing.sandbox.world import World, job


def entry(
    world: World,
    source: Object,
    *,
    amount: int,
    fee: int,
    type: str,
    category: str,
    customer: str | None,
    why: str = "Stripe processing fees",
    at_once: bool = False,
) -> Object:
    """A line of the balance for a charge, refund or dispute (minor units, negative leaves the balance)."""
    now = world.now_of(customer)
    currency = source["currency"]
    details = [
        {
            "amount": fee,
            "application": None,
            "currency": currency,
            "description": why,
            "type": "stripe_fee",
        }
    ]
    made = world.insert(
        {
            "id": world.new_id("balance_transaction"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": now if at_once else now + 2 * DAY,
            "balance_type": "payments",
            "created": now,
            "currency": currency,
            "description": source.get("description"),
            "exchange_rate": None,
            "fee": fee,
            "fee_details": details if fee else [],
            "net": amount - fee,
            "reporting_category": category,
            "source": source["id"],
            "status": "available" if at_once else "pending",
            "type": type,
        }
    )  # fmt: skip
    if world.clock_of(customer):
        world.clocked.add(made["id"])
    if not at_once:
        world.schedule(made["available_on"], "funds_available", made["id"], world.clock_of(customer))
    return made


@job("funds_available")
def funds_available(world: World, id: str) -> None:
    """Two days later the money can be paid out."""
    if moved := world.find("balance_transaction", id):
        world.update(moved, status="available")


def charge_entry(world: World, charge: Object, *, at_once: bool = False) -> Object:
    """The money of a charge, less 2.9% and 30 minor units."""
    fee = round_half_up(Fraction(charge["amount"]) * Fraction(29, 1000)) + 30
    return entry(
        world,
        charge,
        amount=charge["amount"],
        fee=fee,
        type="charge",
        category="charge",
        customer=charge["customer"],
        at_once=at_once,
    )
