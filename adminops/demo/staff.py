"""Who can log into the demo: three of staff and two members. `fill_demo` makes them, the demo prints them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StaffLogin:
    """A staff user of the demo. The password is no secret: the demo listens on this machine only."""

    username: str
    password: str
    role: str


STAFF = (
    StaffLogin("admin", "harbor-lamp-42", "administrator"),
    StaffLogin("finance", "copper-ledger-17", "finance"),
    StaffLogin("support", "paper-kite-63", "support"),
)


@dataclass(frozen=True)
class MemberLogin:
    """Somebody who works for a customer, and sees the members' page only. No secret either."""

    username: str
    email: str
    password: str
    organization: str
    role: str
    """As `organizations.models.Membership.Role` spells it."""
    words: str


MEMBERS = (
    MemberLogin(
        "northwind",
        "member@northwind-labs.example",
        "green-kettle-25",
        "Northwind Labs",
        "member",
        "a member who has access",
    ),
    MemberLogin(
        "tamarind",
        "owner@tamarind.example",
        "late-invoice-31",
        "Tamarind Travel",
        "owner",
        "an owner, locked out for non-payment",
    ),
)
# With it a product may ask /api/access/; the README's line has it too.
ACCESS_TOKEN = "access_TheDemoHasNoSecretsAtAll"
