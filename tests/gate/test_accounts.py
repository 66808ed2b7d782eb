"""The accounts that a call names, wherever it does."""

from typing import Any

import pytest

from proxy.errors import Refusal
from proxy.gate.accounts import concerns, named
from proxy.gate.guards import Call, Guards, Tempo, check
from tests.orderforms import FORM, QUESTRADE, row, written

OURS = {"account": b"26598145"}


def judged(call: Call, *accounts: str) -> str | None:
    """The rule that refuses a call where these accounts are allowed."""
    try:
        check([Guards("mounts.here.guards", accounts=frozenset(accounts))], call, Tempo(), wall=0, boot=0)
    except Refusal as refusal:
        return refusal.rule
    return None


@pytest.mark.parametrize(
    ("broker", "name", "parts", "expected"),
    [
        ("questrade", "positions", {"captures": OURS}, ["26598145"]),
        ("questrade", "order", {"captures": OURS | {"order": b"7"}}, ["26598145"]),
        ("questrade", "order_new", {"body": QUESTRADE, "captures": OURS}, ["26598145"]),
        (
            "questrade", "order_new", {"body": QUESTRADE | {"accountNumber": 51234567}, "captures": OURS},
            ["26598145", "51234567"],
        ),
        ("questrade", "order_impact", {"body": {"accountNumber": "5"}, "captures": OURS}, ["26598145", "5"]),
        ("questrade", "order_impact", {"body": {"accountNumber": None}, "captures": OURS}, ["26598145"]),
        ("alpaca", "broker_journals_post", {"body": {"from_account": [None, "", "b"]}}, ["b"]),
        ("questrade", "order_impact", {"body": {"x": [{"accountNumber": "5"}]}, "captures": OURS}, ["26598145", "5"]),
        ("questrade", "order_new", {"body": b"accountNumber=5", "headers": FORM, "captures": OURS}, ["26598145", "5"]),
        ("questrade", "order_new", {"query": b"accountNumber=5", "captures": OURS}, ["26598145", "5"]),
        ("alpaca", "broker_accounts_activities", {"query": b"account_id=a-1%2Cb-2&x=%zz"}, ["a-1", "b-2"]),
        ("alpaca", "broker_journals_post", {"body": {"from_account": "a", "to_account": "b"}}, ["a", "b"]),
        ("alpaca", "broker_journals_batch_post", {"body": {"entries": [{"to_account": ["a", "b"]}]}}, ["a", "b"]),
        ("alpaca", "broker_accounts_activities", {}, []),
    ],
    ids=[
        "path", "an order", "path of an order", "number in the body", "text in the body", "null", "null in a list",
        "deep in the body", "form", "query", "list in a query", "two names", "list in a body", "none",
    ],
)  # fmt: skip
def test_every_account_is_found(broker: str, name: str, parts: dict[str, Any], expected: list[str]) -> None:
    """In the path, the query and the body, at any depth."""
    assert expected == named(row(broker, name), written(**parts))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("order_new", {"body": {"accountnumber": "1"}}),
        ("order_new", {"body": {"x": {"account_number": "1"}}}),
        ("order_new", {"body": {"accountNumber": {"id": "1"}}}),
        ("order_new", {"body": {"accountNumber": True}}),
        ("order_new", {"body": {"accountNumber": "1 "}}),
        ("order_new", {"body": b'{"accountNumber": "1", "accountNumber": "2"}'}),
        ("order_new", {"body": b"AccountNumber=5", "headers": FORM}),
        ("order_new", {"body": b"a[accountNumber]=5", "headers": FORM}),
        ("order_new", {"body": b"{}", "headers": ()}),
        ("order_new", {"body": b"{}", "headers": [(b"Content-Type", b"text/plain")]}),
        ("order_new", {"query": b"accountNumber=1&accountNumber=2"}),
        ("order_new", {"query": b"Accountnumber=1"}),
        ("order_new", {"query": b"%61ccountNumber=1"}),
        ("order_new", {"query": b"accountNumber=%31"}),
    ],
    ids=[
        "case", "another spelling, deep", "an object", "no text", "a space", "twice", "case in a form", "nested",
        "no type", "a type", "query, twice", "query, case", "query, encoded name", "query, encoded value",
    ],
)  # fmt: skip
def test_an_account_with_a_second_reading_is_refused(name: str, parts: dict[str, Any]) -> None:
    """Other spellings and other forms: the broker may take another account."""
    with pytest.raises(Refusal) as caught:
        named(row("questrade", name), written(captures=OURS, **parts))
    assert "guard-denied" == caught.value.kind.name


@pytest.mark.parametrize(
    ("broker", "name", "capture"),
    [
        ("questrade", "balances", "account"),
        ("questrade", "order", "account"),
        ("questrade", "order_cancel", "account"),
        ("tradier", "history", "account"),
        ("tradier", "order_cancel", "account"),
        ("alpaca", "broker_accounts_one", "account_id"),
        ("alpaca", "broker_trading_accounts_orders_one_delete", "account_id"),
    ],
)
def test_the_list_counts_for_reads_and_cancels_too(broker: str, name: str, capture: str) -> None:
    """Every row with an account in its path."""
    call = Call(row(broker, name), written(captures={capture: b"11111111"}))
    assert None is judged(call, "22222222", "11111111")
    assert "accounts" == judged(call, "22222222")


def test_every_account_of_a_call_must_be_allowed() -> None:
    """One of two is not enough."""
    call = Call(row("alpaca", "broker_journals_post"), written({"from_account": "a", "to_account": "b"}))
    assert ["accounts", "accounts", None] == [judged(call, "a"), judged(call, "b"), judged(call, "a", "b")]


def test_a_row_that_can_name_an_account_has_to() -> None:
    """Without it the broker would tell of all accounts."""
    call = Call(row("alpaca", "broker_accounts_activities"), written())
    assert "accounts" == judged(call, "a")


def test_calls_about_no_account_pass() -> None:
    """Market data, and the list of accounts itself."""
    for broker, name in (("questrade", "accounts"), ("questrade", "quotes_options"), ("tradier", "profile")):
        assert not concerns(row(broker, name))
        assert None is judged(Call(row(broker, name), written(b"\xff", headers=())), "a")
