"""The three people who can log into the demo; `fill_demo` makes them, the demo prints them."""

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
