"""What a subscription is worth."""

from typing import Any

import pytest

from billing.metrics import item_amount, monthly_recurring, recurring_amount, seat_item


def item(amount: str | None = "2900", quantity: int = 8, **price: Any) -> dict[str, Any]:
    recurring = {
        "interval": "month",
        "interval_count": 1,
        "usage_type": "licensed",
        **price.pop("recurring", {}),
    }
    return {
        "id": price.pop("id", "si_1"),
        "quantity": quantity,
        "price": {
            "id": "price_1",
            "billing_scheme": "per_unit",
            "unit_amount": None,
            "unit_amount_decimal": amount,
            "recurring": recurring,
            "product": {"id": "prod_1", "metadata": price.pop("product_metadata", {})},
            **price,
        },
    }


def subscription(*items: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "sub_1",
        "status": "active",
        "items": {"data": list(items or [item()])},
        "discounts": [],
        **changes,
    }


def coupon(duration: str = "forever", **off: Any) -> dict[str, Any]:
    return {"id": "di_1", "source": {"type": "coupon", "coupon": {"id": "c", "duration": duration, **off}}}


YEARLY = {"interval": "year"}
TIERS = [
    {"up_to": 5, "unit_amount_decimal": "1000", "flat_amount_decimal": None},
    {"up_to": 10, "unit_amount_decimal": "800", "flat_amount_decimal": "500"},
    {"up_to": None, "unit_amount_decimal": "500", "flat_amount_decimal": None},
]


@pytest.mark.parametrize(
    ("given", "mrr"),
    [
        (subscription(), 8 * 2900),
        (subscription(status="past_due"), 8 * 2900),
        (subscription(status="trialing"), 0),
        (subscription(status="unpaid"), 0),
        (subscription(status="canceled"), 0),
        (subscription(item("1000", 1, recurring=YEARLY)), 83),  # 83.33
        (subscription(item("6", 1, recurring=YEARLY)), 0),  # 0.5 goes to the even 0
        (subscription(item("18", 1, recurring=YEARLY)), 2),  # 1.5 goes to the even 2
        (subscription(item("300", 1, recurring={"interval_count": 3})), 100),
        (subscription(item("12", 1, recurring={"interval": "week"})), 52),
        (subscription(item("1200", 1, recurring=YEARLY), item("50", 2)), 200),
        (subscription(item(), item("7", 99, recurring={"usage_type": "metered"})), 8 * 2900),
        (subscription(item("0.5", 3)), 2),  # 1.5, rounded once over the subscription
        (subscription(discounts=[coupon(percent_off=25)]), 8 * 2900 * 3 // 4),
        (subscription(discounts=[coupon(percent_off=25, duration="once")]), 8 * 2900),
        (subscription(discounts=[coupon(amount_off=3200, duration="repeating")]), 20_000),
        (subscription(discounts=[coupon(amount_off=999_999)]), 0),
        (subscription(item("1200", 1, recurring=YEARLY), discounts=[coupon(amount_off=600)]), 50),
        (subscription(discounts=["di_1"]), 8 * 2900),
        (subscription(pause_collection={"behavior": "void"}), 0),
        (subscription(pause_collection={"behavior": "keep_as_draft"}), 8 * 2900),
    ],
)
def test_mrr_is_what_lasting_licensed_items_bring_a_month(given: dict[str, Any], mrr: int) -> None:
    assert monthly_recurring(given) == mrr


@pytest.mark.parametrize(
    ("mode", "quantity", "amount"),
    [
        ("graduated", 5, 5000),
        ("graduated", 7, 5 * 1000 + 2 * 800 + 500),
        ("graduated", 12, 5 * 1000 + 5 * 800 + 500 + 2 * 500),
        ("volume", 5, 5000),
        ("volume", 7, 7 * 800 + 500),
        ("volume", 12, 12 * 500),
        ("volume", 0, 0),
    ],
)
def test_tiers_count_each_unit_where_it_belongs(mode: str, quantity: int, amount: int) -> None:
    assert item_amount(item(None, quantity, billing_scheme="tiered", tiers_mode=mode, tiers=TIERS)) == amount


def test_packages_round_as_the_price_says() -> None:
    assert item_amount(item("1000", 11, transform_quantity={"divide_by": 5, "round": "up"})) == 3000
    assert item_amount(item("1000", 11, transform_quantity={"divide_by": 5, "round": "down"})) == 2000


def test_another_number_of_seats_changes_the_seat_item_only() -> None:
    seats = item("2900", 8, id="si_seats", product_metadata={"seats": "yes"})
    support = item("5000", 1, id="si_support")
    assert recurring_amount(subscription(seats, support), 12) == 12 * 2900 + 5000
    assert recurring_amount(subscription(seats, support)) == 8 * 2900 + 5000


def test_the_seat_item_is_the_only_licensed_one_or_the_marked_one() -> None:
    metered = item(recurring={"usage_type": "metered"}, id="si_metered")
    marked = item(id="si_marked", product_metadata={"seats": ""})
    assert (seat_item(subscription(item(), metered)) or {})["id"] == "si_1"
    assert (seat_item(subscription(item(), marked)) or {})["id"] == "si_marked"
    assert seat_item(subscription(item(), item(id="si_2"))) is None
    assert seat_item(subscription(metered)) is None
