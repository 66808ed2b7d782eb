"""Plausible answers for what nobody looks at."""

import json

import pytest

from proxy.simulator.alpaca import samples
from proxy.simulator.alpaca.answers import Reply
from proxy.simulator.alpaca.routes import Call
from tests.simulator.alpaca.support import call
from tests.simulator.support import NOON


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2/wallets", list),
        ("/v2/wallets/transfers/{transfer_id}", dict),
        ("/v2/wallets/fees/estimate", dict),
        ("/v1/fpsl/loans", dict),
    ],
)
def test_a_path_says_whether_it_is_about_one_or_many(path: str, kind: type) -> None:
    """By its last segment."""
    assert isinstance(samples.handler("GET", path)(call()), kind)


def test_a_list_may_stand_in_an_object() -> None:
    """With a token for the next page."""
    found = samples.handler("GET", "/v1/assets/fixed_income/us_treasuries")(call())

    assert isinstance(found, dict)
    assert ["us_treasuries", "next_page_token"] == list(found)


def test_a_new_thing_has_what_was_sent() -> None:
    """And the captures of its path."""
    sent = Call("POST", {"account_id": "a"}, "", json.dumps({"amount": "5"}).encode(), NOON, call().account)
    made = samples.handler("POST", "/v1/accounts/{account_id}/wallets/transfers")(sent)

    assert isinstance(made, dict)
    assert ("5", "a", "PENDING") == (made["amount"], made["account_id"], made["status"])


def test_a_deleted_thing_leaves_nothing() -> None:
    """204."""
    assert Reply(status=204) == samples.handler("DELETE", "/v1/instant_funding/{instant_funding_id}")(call())


def test_an_announcement_is_of_today() -> None:
    """In the older form."""
    assert ("2026-03-03", "dividend") == tuple(samples.announcement(NOON)[name] for name in ("ex_date", "ca_type"))
