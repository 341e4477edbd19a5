"""The account itself."""

from billing.sandbox.errors import missing
from billing.sandbox.listing import PAGE_BY_TIME, page_of
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World


def new_account(world: World) -> Object:
    """The one account of a sandbox; its id does not change, so that links to it stay good."""
    return {
        "id": "acct_1SandboxSandboxSa",
        "object": "account",
        "business_profile": {
            "annual_revenue": None,
            "estimated_worker_count": None,
            "mcc": "5734",
            "minority_owned_business_designation": None,
            "name": "Sandbox",
            "product_description": None,
            "support_address": None,
            "support_email": None,
            "support_phone": None,
            "support_url": None,
            "url": None,
        },
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "created": world.now(),
        "default_currency": "usd",
        "details_submitted": True,
        "email": "sandbox@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }


@endpoint("GET", "/v1/account")
def retrieve_account(call: Call) -> Object:
    """The account the key belongs to."""
    return call.world.account


@endpoint("GET", "/v1/accounts/{}")
def retrieve_account_by_id(call: Call) -> Object:
    """The account, by its id."""
    if call.id != call.world.account["id"]:
        raise missing("account", call.id, in_url=True)
    return call.world.account


@endpoint("GET", "/v1/accounts", **PAGE_BY_TIME)
def list_connected_accounts(call: Call) -> Object:
    """The accounts connected to this one: none, ever."""
    return page_of(call, [])
