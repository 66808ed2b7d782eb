"""One record a call."""

import logging

import pytest

from proxy import audit


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
        "r1", "GET", "questrade", "bot", "/v1/accounts", "read_acc", False, 200, "broker", 4, True, 0.01234, "ann"
    )
    level, line = written(caplog, record)

    assert "INFO" == level
    assert {
        "event": "call", "request_id": "r1", "client": "bot", "mount": "questrade", "method": "GET",
        "row": "/v1/accounts", "scope": "read_acc", "mutating": False, "status": 200, "outcome": "broker",
        "generation": 4, "replayed": True, "ms": 12.3, "grant": "ann",
    } == {key: value for key, value in line.items() if key not in ("level", "logger", "timestamp")}  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "level", "refused"),
    [
        ("broker", "INFO", False),
        ("here", "INFO", False),
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
