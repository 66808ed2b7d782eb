"""One record a call: what of it is told on the log, and what in the trail."""

import json
import logging
from typing import Any

import pytest

from proxy.audit import record as audit
from proxy.gate.rows import Row
from proxy.secret import Secret
from tests.audit.trails import order, read


def written(caplog: pytest.LogCaptureFixture, record: audit.Record) -> tuple[str, dict[str, object]]:
    """The level and the fields of the line."""
    caplog.set_level(logging.DEBUG)
    audit.write(record)
    (line,) = (line for line in caplog.records if line.name == "audit")
    assert isinstance(line.msg, dict)
    return line.levelname, line.msg


def test_a_record_holds_who_what_which_row_and_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    """And nothing else: no header, query, body or raw path has a field to stand in."""
    record = audit.Record(
        "r1", "GET", "questrade", "bot", "/v1/accounts", "read_acc", False, 200, "broker", 4, True, 0.01234, "ann",
        rule="accounts",
    )  # fmt: skip
    level, line = written(caplog, record)

    assert "DEBUG" == level
    assert {
        "event": "call", "request_id": "r1", "client": "bot", "mount": "questrade", "method": "GET",
        "row": "/v1/accounts", "scope": "read_acc", "mutating": False, "status": 200, "outcome": "broker",
        "generation": 4, "replayed": True, "ms": 12.3, "grant": "ann", "rule": "accounts",
    } == {key: value for key, value in line.items() if key not in ("level", "logger", "timestamp")}  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "level", "refused"),
    [
        ("broker", "DEBUG", False),
        ("here", "DEBUG", False),
        ("aborted", "WARNING", False),
        ("scope-denied", "WARNING", True),
    ],
)
def test_what_did_not_go_well_stands_out(
    caplog: pytest.LogCaptureFixture, outcome: str, level: str, refused: bool
) -> None:
    """A call that one of its ends gave up is no refusal of ours."""
    record = audit.Record("r1", "GET", outcome=outcome)

    assert (level, refused) == (written(caplog, record)[0], record.refused)


def test_an_order_stands_out_among_reads(caplog: pytest.LogCaptureFixture) -> None:
    """Its line says that something was changed."""
    assert written(caplog, audit.Record("r1", "POST", mutating=True, outcome="broker"))[1]["mutating"]


def test_a_read_that_went_well_is_not_on_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Unless somebody debugs: the trail has it, for a tenth of the time."""
    caplog.set_level(logging.INFO)
    audit.write(read())
    audit.write(order(status=200, outcome="broker"))
    assert ["POST"] == [line.msg["method"] for line in caplog.records if isinstance(line.msg, dict)]


def told(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads("{" + text + "}")
    return found


def test_what_is_not_known_is_left_out() -> None:
    """A refusal before anybody knew who was asking for what."""
    assert {"id": "r1", "method": "GET", "status": 401, "outcome": "unknown-client", "ms": 0.0} == told(
        audit.call(audit.Record("r1", "GET", status=401, outcome="unknown-client"))
    )


def test_a_persons_grant_is_told_as_grant_and_member() -> None:
    """So that both can be looked for."""
    found = told(audit.call(read(grant="alpaca/ann")))
    assert ("alpaca", "ann") == (found["grant"], found["member"])
    assert "member" not in told(audit.call(read(grant="alpaca")))


def test_an_order_is_told_in_two_halves() -> None:
    """What is about to be sent, with its class, rule, account and digest; and how it ended, by the intent's number."""
    record = order(sent="d1", seconds=0.5)
    assert {
        "id": "o1", "method": "POST", "client": "bot", "mount": "questrade", "grant": "questrade",
        "row": "/v1/accounts/{account}/orders", "scope": "trade", "class": "place", "mutating": True,
        "rule": "order_new", "account": "***145", "sent": "d1",
    } == told(audit.intent(record))  # fmt: skip
    record.intent, record.status, record.generation, record.replayed = 7, 200, 3, True
    assert {
        "id": "o1", "client": "bot", "mount": "questrade", "intent": 7, "status": 200, "outcome": "broker",
        "generation": 3, "replayed": True, "ms": 500.0,
    } == told(audit.outcome(record, "broker"))  # fmt: skip


MASKED = [("26598145", "***145"), ("1234", "***234"), ("123", "***"), ("", "***")]


@pytest.mark.parametrize(("account", "shown"), MASKED)
def test_an_account_is_masked(account: str, shown: str) -> None:
    """To its last three characters; of one that is hardly longer nothing is left."""
    assert shown == audit.masked(account)


def test_the_account_is_what_the_row_says_it_is() -> None:
    """Not any number in a path."""
    row = Row("one", "GET", "/v1/{desk}/{order}", "read", account_captures=("desk",))
    record = audit.Record("r1", "GET")
    audit.matched(record, row, [("order", b"424242"), ("desk", b"26598145")])
    assert ("***145", "one", None) == (record.account, record.rule, record.order)
    audit.matched(record, Row("two", "GET", "/v1/{order}", "read"), [("order", b"424242")])
    assert record.account is None


def test_details_of_an_act_hold_no_secret() -> None:
    """Nor a whole novel, nor what was not given."""
    secret = Secret("canary-of-an-operator")
    found = audit.about({"reason": f"told by {secret.reveal()}", "long": "x" * 999, "none": None, "grants": ("a", 7)})
    assert {"reason": "told by ***", "long": "x" * 200, "grants": ["a", 7]} == found
    assert {"cancels_too": True} == audit.about({"cancels_too": True})
