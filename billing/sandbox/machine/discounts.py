"""Discounts: coupons and promotion codes redeemed by customers, subscriptions, items and invoices, and their end."""

from typing import Any

from billing.sandbox.errors import invalid, missing
from billing.sandbox.machine.pricing import is_metered, price_amount
from billing.sandbox.machine.reductions import amount_off, coupon_of
from billing.sandbox.money import round_half_up
from billing.sandbox.periods import period_end
from billing.sandbox.table import Object
from billing.sandbox.world import World, job

MOST = 20


def effective(world: World, customer: Object, subscription: Object | None) -> list[str]:
    """The discounts that reduce an invoice drafted now: the subscription's own, or else the customer's."""
    now = world.now_of(customer["id"])
    own = [id for id in subscription["discounts"] if _runs(world, id, now)] if subscription else []
    if own:
        return own
    held = customer["discount"]
    return [held["id"]] if held and _runs(world, held["id"], now) else []


def _runs(world: World, id: str, now: int) -> bool:
    end = world.get("discount", id)["end"]
    return end is None or bool(end > now)


def redeem(
    world: World,
    customer: Object,
    given: list[dict[str, Any]],
    *,
    currency: str | None,
    worth: int,
    param: str = "discounts",
    present: tuple[str, ...] = (),
    **holder: str,
) -> list[str]:
    """Discounts for what was given, each a coupon, a promotion code, or a discount that is already there.

    `worth` is what is bought (minor units of `currency`), for a promotion code's least amount; `holder` names the
    subscription, item or invoice.
    """
    if len(given) > MOST:
        raise invalid(f"You can apply at most {MOST} discounts.", param=param)
    ids = []
    for index, each in enumerate(given):
        name = f"{param}[{index}]"
        if sum(1 for key in ("coupon", "promotion_code", "discount") if each.get(key)) != 1:
            raise invalid(
                "You must specify exactly one of `coupon`, `promotion_code` or `discount`.", param=name
            )
        if kept := each.get("discount"):
            if kept not in (*present, (customer["discount"] or {}).get("id")):
                raise missing("discount", kept, param=f"{name}[discount]")
            if kept in present:
                ids.append(kept)
                continue
            each = {"coupon": customer["discount"]["source"]["coupon"]}
        ids.append(_redeem(world, customer, each, name, currency, worth, holder)["id"])
    return ids


def _redeem(
    world: World,
    customer: Object,
    given: dict[str, Any],
    name: str,
    currency: str | None,
    worth: int,
    holder: dict[str, str],
) -> Object:
    promotion = None
    if code := given.get("promotion_code"):
        promotion = world.get("promotion_code", code, param=f"{name}[promotion_code]", noun="promotion code")
        _check_promotion(world, promotion, customer, currency, worth, f"{name}[promotion_code]")
        coupon = world.find("coupon", promotion["promotion"]["coupon"])
        if coupon is None or not coupon["valid"]:
            raise _expired(promotion["code"], f"{name}[promotion_code]")
    else:
        coupon = world.get("coupon", given["coupon"], param=f"{name}[coupon]")
        if not coupon["valid"]:
            raise _expired(coupon["id"], f"{name}[coupon]")
    if coupon["percent_off"] is None and currency and amount_off(world, coupon, currency) is None:
        raise invalid(
            f"The coupon `{coupon['id']}` is in {coupon['currency']}, which does not match {currency}.",
            param=f"{name}[coupon]",
        )
    now = world.now_of(customer["id"])
    months = coupon["duration_in_months"]
    end = period_end(now, "month", months, now) if coupon["duration"] == "repeating" else None
    made = world.insert(
        {
            "id": world.new_id("discount"),
            "object": "discount",
            "checkout_session": None,
            "customer": customer["id"],
            "customer_account": None,
            "end": end,
            "invoice": None,
            "invoice_item": None,
            "promotion_code": promotion["id"] if promotion else None,
            "source": {"coupon": coupon["id"], "type": "coupon"},
            "start": now,
            "subscription": None,
            "subscription_item": None,
            **holder,
        }
    )
    for counted in (coupon, promotion):
        if counted:
            times = counted["times_redeemed"] + 1
            world.update(counted, times_redeemed=times)
            if counted["max_redemptions"] and times >= counted["max_redemptions"]:
                world.update(counted, **{"valid" if counted is coupon else "active": False})
    if not coupon["valid"]:
        end_codes(world, coupon["id"])
    world.emit("customer.discount.created", made)
    if end:
        world.schedule(end, "end_discount", made["id"], world.clock_of(customer["id"]))
    return made


def _expired(name: str, param: str) -> Exception:
    return invalid(f"Coupon expired: {name}", param=param, code="coupon_expired")


def _check_promotion(
    world: World, promotion: Object, customer: Object, currency: str | None, worth: int, param: str
) -> None:
    now = world.now_of(customer["id"])
    if not promotion["active"] or (promotion["expires_at"] or 2**62) <= now:
        raise invalid("This promotion code is expired or inactive.", param=param, code="coupon_expired")
    if promotion["customer"] not in (None, customer["id"]):
        raise invalid("This promotion code cannot be redeemed by this customer.", param=param)
    restrictions = promotion["restrictions"]
    if restrictions["first_time_transaction"] and any(
        invoice["amount_paid"] for invoice in world.tables["invoice"].newest_first("customer", customer["id"])
    ):
        raise invalid(
            "This promotion code cannot be redeemed because the associated customer has prior transactions.",
            param=param,
        )
    least = restrictions["minimum_amount"]
    if currency and currency != restrictions["minimum_amount_currency"]:
        options = world.side.get(promotion["id"], {}).get("currency_options") or {}
        if least is not None and currency not in options:
            raise invalid(f"This promotion code cannot be redeemed in {currency}.", param=param)
        least = options.get(currency, {}).get("minimum_amount")
    if least is not None and worth < least:
        raise invalid(
            "This promotion code cannot be redeemed because its minimum amount is not met.", param=param
        )


def worth_of(world: World, items: list[Object]) -> int:
    """What a subscription's items cost for a whole period (minor units)."""
    return sum(
        round_half_up(price_amount(world, each["price"], each["quantity"]))
        for each in items
        if not is_metered(each["price"])
    )


def set_on_subscription(world: World, subscription: Object, given: list[dict[str, Any]]) -> None:
    """Replace a subscription's discounts; an empty list takes them away."""
    customer = world.get("customer", subscription["customer"])
    old = tuple(subscription["discounts"])
    ids = redeem(
        world,
        customer,
        given,
        currency=subscription["currency"],
        worth=worth_of(world, subscription["items"]["data"]),
        present=old,
        subscription=subscription["id"],
    )
    world.update(subscription, discounts=ids)
    for id in old:
        if id not in ids:
            drop(world, world.get("discount", id))


def on_item(
    world: World, subscription: Object, item: Object, given: list[dict[str, Any]], param: str
) -> list[str]:
    """The discounts of a subscription item, redeemed or kept."""
    old = tuple(item["discounts"])
    ids = redeem(
        world,
        world.get("customer", subscription["customer"]),
        given,
        currency=item["price"]["currency"],
        worth=worth_of(world, [item]),
        param=f"{param}[discounts]",
        present=old,
        subscription=subscription["id"],
        subscription_item=item["id"],
    )
    for id in old:
        if id not in ids:
            world.emit("customer.discount.deleted", world.get("discount", id))
    return ids


def set_on_customer(world: World, customer: Object, given: dict[str, Any]) -> Object:
    """Give a customer a discount, instead of the one there may be."""
    old = customer["discount"]
    [id] = redeem(world, customer, [given], currency=customer["currency"], worth=2**62)
    made = world.get("discount", id)
    world.update(customer, discount=dict(made))
    if old:
        previous = {"source": old["source"], "start": old["start"], "end": old["end"]}
        world.emit("customer.discount.updated", made, previous=previous)
    return made


def use(world: World, ids: set[str]) -> None:
    """Discounts that reduced an invoice: those for once leave who held them."""
    for id in sorted(ids):
        discount = world.get("discount", id)
        held = discount["invoice"] is None and discount["invoice_item"] is None
        if held and coupon_of(world, discount)["duration"] == "once":
            drop(world, discount)


def drop(world: World, discount: Object) -> Object:
    """A discount's end: whoever held it has it no more; what it reduced stays reduced. What the API answers."""
    id = discount["id"]
    if not world.side.get(id, {}).get("ended"):
        world.note(id, ended=True)
        subscription = world.find("subscription", discount["subscription"])
        customer = world.find("customer", discount["customer"])
        if subscription:
            if id in subscription["discounts"]:
                world.update(
                    subscription, discounts=[each for each in subscription["discounts"] if each != id]
                )
            items = subscription["items"]["data"]
            if any(id in item["discounts"] for item in items):
                items = [{**i, "discounts": [each for each in i["discounts"] if each != id]} for i in items]
                world.update(subscription, items={**subscription["items"], "data": items})
        elif customer and (customer["discount"] or {}).get("id") == id:
            world.update(customer, discount=None)
        world.emit("customer.discount.deleted", discount)
    return {**{key: value for key, value in discount.items() if key != "end"}, "deleted": True}


@job("end_discount")
def end_discount(world: World, id: str) -> None:
    """A repeating discount's months are over."""
    if discount := world.find("discount", id):
        drop(world, discount)


@job("end_coupon")
def end_coupon(world: World, id: str) -> None:
    """A coupon's last moment to be redeemed."""
    coupon = world.find("coupon", id)
    if coupon and coupon["redeem_by"] and coupon["redeem_by"] <= world.now():
        world.update(coupon, valid=False)
        end_codes(world, id)


def end_codes(world: World, coupon: str) -> None:
    """A coupon that is no longer valid takes its promotion codes along."""
    for code in world.tables["promotion_code"].objects.values():
        if code["active"] and code["promotion"]["coupon"] == coupon:
            world.update(code, active=False)


@job("end_promotion_code")
def end_promotion_code(world: World, id: str) -> None:
    """A promotion code's last moment."""
    code = world.find("promotion_code", id)
    if code and code["expires_at"] and code["expires_at"] <= world.now():
        world.update(code, active=False)
