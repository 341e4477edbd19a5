"""Products."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.params import boolean, list_of, merged, metadata, required, text, text_of
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object

FIELDS: dict[str, Any] = {
    "active": boolean,
    "description": text_of(40_000),
    "images": list_of(text),
    "marketing_features": list_of({"name": required(text)}),
    "metadata": metadata,
    "shippable": boolean,
    "statement_descriptor": text_of(22),
    "tax_code": text,
    "unit_label": text_of(12),
    "url": text,
}


@endpoint("POST", "/v1/products", **FIELDS, id=text, name=required(text))
def create_product(call: Call) -> Object:
    """A new product, active unless said otherwise."""
    world, params = call.world, call.params
    now = world.now()
    if (wanted := params.get("id")) and world.find("product", wanted):
        raise invalid("Product already exists.", param="id", code="resource_already_exists")
    product: Object = {
        "id": wanted or world.new_id("product"),
        "object": "product",
        "active": params.get("active", True),
        "created": now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": params["name"],
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "unit_label": None,
        "updated": now,
        "url": None,
    }
    product.update({key: value for key, value in params.items() if value is not None})
    world.insert(product)
    world.emit("product.created", product)
    return product


@endpoint("GET", "/v1/products/{}")
def retrieve_product(call: Call) -> Object:
    """A product."""
    return call.find("product")


@endpoint("POST", "/v1/products/{}", **FIELDS, name=text, default_price=text)
def update_product(call: Call) -> Object:
    """Change a product's fields; metadata is merged."""
    world, params = call.world, dict(call.params)
    product = call.find("product")
    if "metadata" in params:
        params["metadata"] = merged(product["metadata"], params["metadata"])
    if price := params.get("default_price"):
        world.get("price", price, param="default_price")
    world.update(product, **params, updated=world.now())
    return product


@endpoint("DELETE", "/v1/products/{}")
def delete_product(call: Call) -> Object:
    """Delete a product that has no prices."""
    product = call.find("product")
    if any(call.world.tables["price"].newest_first("product", product["id"])):
        raise invalid("This product cannot be deleted because it has one or more user-created prices.")
    stub = call.world.remove(product)
    call.world.emit("product.deleted", product)
    return stub


@endpoint("GET", "/v1/products", **PAGE_BY_TIME, active=boolean, ids=list_of(text), url=text)
def list_products(call: Call) -> Object:
    """Products, newest first."""
    ids = call.params.get("ids")
    return page(
        call,
        "product",
        active=call.params.get("active"),
        keep=(lambda product: product["id"] in ids) if ids else None,
    )
