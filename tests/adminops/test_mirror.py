"""The mirror of Stripe on the screen: for looking, by exact id."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing import mirror
from tests.adminops.pages import Page

pytestmark = pytest.mark.django_db

LIST = "/admin/djstripe/customer/"


@pytest.fixture
def customers() -> None:
    mirror.upsert(
        [
            {
                "id": f"cus_{number}",
                "object": "customer",
                "created": 1_790_000_000,
                "name": "</pre><script>alert(1)</script>",
                "livemode": False,
            }
            for number in range(3)
        ]
    )


def key_of(stripe_id: str) -> int:
    model = next(model for model in mirror.MIRRORED_MODELS if model._meta.model_name == "customer")
    return int(model.objects.get(id=stripe_id).pk)


@pytest.mark.usefixtures("customers")
def test_lists_count_nothing_and_search_by_exact_id(administrator: Client) -> None:
    with CaptureQueriesContext(connection) as captured:
        text = Page(administrator.get(LIST)).text
    assert "cus_0" in text
    assert not [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    found = Page(administrator.get(LIST, {"q": "cus_1"})).text
    assert "cus_1" in found
    assert "cus_2" not in found
    assert "cus_1" not in Page(administrator.get(LIST, {"q": "us_1"})).text


@pytest.mark.usefixtures("customers")
def test_a_page_shows_what_stripe_said_and_takes_nothing(administrator: Client) -> None:
    address = f"{LIST}{key_of('cus_1')}/change/"
    response = administrator.get(address)
    page = Page(response)
    assert '"id": "cus_1"' in page.text
    assert page.could_run() == []
    assert b"<script>alert" not in response.content
    assert administrator.post(address, {"name": "x"}).status_code == 403
    assert administrator.post(f"{LIST}{key_of('cus_1')}/delete/", {"post": "yes"}).status_code == 403
    assert administrator.get(f"{LIST}add/").status_code == 403


@pytest.mark.usefixtures("customers")
def test_the_mirror_is_for_those_who_may_see_it(staff: Callable[..., Client], support: Client) -> None:
    assert support.get(LIST).status_code == 403
    assert staff("djstripe.view_customer").get(LIST).status_code == 200
