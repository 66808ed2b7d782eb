"""The customers of a broker partner."""

import pytest

from proxy.simulator.alpaca.answers import Refused
from proxy.simulator.alpaca.customers import Customers
from tests.simulator.alpaca.support import MISSING
from tests.simulator.support import NOON


@pytest.fixture
def customers() -> Customers:
    return Customers(NOON)


def test_there_are_two_customers_with_accounts_of_their_own(customers: Customers) -> None:
    """Ids and numbers are the same in each run."""
    ada, grace = customers.accounts.values()

    assert (["551000001", "551000002"], ada) == ([ada.number, grace.number], customers.first)
    assert list(customers.accounts) == list(Customers(NOON).accounts)
    assert ada.book is not grace.book


def test_a_path_names_an_account_or_means_the_first(customers: Customers) -> None:
    """404 for one that there is not."""
    ada, grace = customers.accounts.values()

    assert (ada, grace) == (customers.account_of({}), customers.account_of({"account_id": grace.id.upper()}))
    with pytest.raises(Refused, match="40410000"):
        customers.account_of({"account_id": MISSING})


def test_a_new_customer_needs_contact_and_identity(customers: Customers) -> None:
    """422 without; then there is an account."""
    made = customers.create({"contact": {"city": "Oslo"}, "identity": {"given_name": "Edith"}}, NOON)

    assert ("551000003", "ACTIVE") == (made["account_number"], made["status"])
    assert str(made["id"]) in customers.accounts
    with pytest.raises(Refused, match="42210001"):
        customers.create({"contact": {}}, NOON)


def test_customers_are_searched(customers: Customers) -> None:
    """By number, address or name."""
    assert 2 == len(customers.listed())
    assert ["551000002"] == [row["account_number"] for row in customers.listed("Grace")]
    assert [] == customers.listed("Grace 551000001")


def test_a_profile_is_changed_member_by_member(customers: Customers) -> None:
    """422 for what cannot be."""
    profile = customers.change(customers.first, {"contact": {"city": "Oakland"}})

    contact = profile["contact"]
    assert isinstance(contact, dict)
    assert ("Oakland", "CA") == (contact["city"], contact["state"])
    requests: tuple[dict[str, object], ...] = ({"status": "x"}, {"contact": "x"}, {"trusted_contact": {}})
    for request in requests:
        with pytest.raises(Refused, match="42210001"):
            customers.change(customers.first, request)


def test_a_closed_account_says_so(customers: Customers) -> None:
    """It stays in the list."""
    customers.close(customers.first)

    assert "ACCOUNT_CLOSED" == customers.profile(customers.first)["status"]
