"""Take the README's pictures from a running demo: `make pictures` (PORT=8000)."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from adminops.demo.staff import STAFF

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
SUPPORT = next(person for person in STAFF if person.username == "support")


def log_in(browser: Browser, url: str, scheme: str, size: dict[str, int]) -> Page:
    """A page of the back office, logged in as support."""
    page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1.25)  # type: ignore[arg-type]
    page.goto(f"{url}/admin/login/")
    page.get_by_label("Username").fill(SUPPORT.username)
    page.get_by_label("Password").fill(SUPPORT.password)
    page.get_by_label("Password").press("Enter")
    page.wait_for_url(lambda address: "login" not in address)
    return page


def open_northwind(page: Page, url: str) -> None:
    """Go to the page of the customer that everybody looks at first."""
    page.goto(f"{url}/admin/organizations/organization/?q=northwind+labs")
    page.get_by_role("link", name=re.compile("^Northwind Labs")).click()


def take(page: Page, name: str) -> None:
    """Write one picture."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=PICTURES / f"{name}.png")
    print(f"docs/pictures/{name}.png")


def main(url: str) -> None:
    """Take them all."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        light, dark, phone = (
            log_in(browser, url, scheme, size)
            for scheme, size in (("light", WIDE), ("dark", WIDE), ("light", PHONE))
        )
        light.goto(f"{url}/admin/organizations/organization/")
        take(light, "organizations")
        for page, name in ((light, "organization"), (phone, "organization-phone")):
            open_northwind(page, url)
            take(page, name)
        open_northwind(dark, url)
        dark.get_by_role("link", name="Change seats").first.click()
        dark.get_by_label("New seats").fill("15")
        dark.get_by_text("What will happen").wait_for()
        take(dark, "change-seats-dark")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
