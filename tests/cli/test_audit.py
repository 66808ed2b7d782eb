"""`bearerd audit`, with and without a running server."""

import csv
import io
import json
import time
from pathlib import Path

import pytest
from click.testing import Result

from proxy.audit.record import Traffic, ended
from proxy.cli.invocation import Invocation
from tests.audit.trails import read
from tests.cli.support import Person, invoke
from tests.cli.trails import write


@pytest.fixture
def home(person: Person, invocation: Invocation) -> Person:
    """A person whose state directory holds a trail of a few records."""
    write(invocation)
    return person


def ask(home: Person, *arguments: str) -> Result:
    return invoke("audit", *arguments, "-c", str(home.config), HOME=str(home.home))


def test_the_newest_records_are_shown(home: Person) -> None:
    """By their numbers, an order as one line; one without an outcome is marked as unknown."""
    done = ask(home, "tail", "-n", "7")
    assert 0 == done.exit_code, done.output
    head, *rows = done.stdout.splitlines()
    assert ["TIME", "WHO", "WHAT", "STATUS", "OUTCOME", "ACCOUNT", "REQUEST"] == head.split()
    assert 7 == len(rows)
    assert [mark[0] for mark in rows] == ["✓", "✗", "!", "!", "!", "!", "✓"]
    assert "POST /questrade/v1/accounts/{account}/orders  200     broker" in rows[0]
    assert ["unknown", "***999", "o2"] == rows[1].split()[-3:]
    assert "3 records lost: No space left on device" in rows[3]
    assert "7 more calls without a known client" in rows[4]
    assert "old files removed, up to record 0" in rows[5]
    assert "halt mount questrade, reason lunch?[2J" in rows[6], "a reason does not clear the screen"


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--orders"], ["o1", "=1+1", "o2"]),
        (["--outcome", "unknown"], ["o2"]),
        (["--outcome", "halted", "--client", "other"], ["=1+1"]),
        (["--account", "26598145", "--mount", "questrade", "--orders"], ["o1", "=1+1"]),
        (["--request", "o2"], ["o2"]),
        (["--since", "2001-01-01", "--request", "o1"], ["o1"]),
        (["--since", "2h", "--until", "1h"], []),
        (["--until", "2001-01-01 09:30"], []),
        (["--acts"], [None]),
        (["--refused"], ["=1+1"]),
    ],
    ids=lambda value: "-".join(value) if value and value[0] and value[0].startswith("--") else "",
)
def test_records_are_found(home: Person, arguments: list[str], ids: list[str | None]) -> None:
    """By each of the conditions; as JSON, one record a line."""
    done = ask(home, "search", "--json", *arguments)
    assert 0 == done.exit_code, done.output
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert ids == [fields.get("id") for fields in found]
    assert {1} >= {fields["schema"] for fields in found}


def test_a_stream_that_is_over_tells_what_it_carried(person: Person, invocation: Invocation) -> None:
    """A socket its messages and its close code, an HTTP stream its bytes."""
    socket = Traffic(up=3, up_bytes=30, down=500, down_bytes=9000, code=4423)
    both = [(read(seconds=61.0), socket), (read(seconds=5.0), Traffic(down_bytes=77))]
    write(invocation, *(("ended", ended(record, traffic)) for record, traffic in both))
    done = ask(person, "tail", "-n", "2")
    assert 0 == done.exit_code, done.output
    _, first, second = done.stdout.splitlines()
    assert "/questrade/v1/accounts/{account} (3 up, 500 down in 1m)  4423    ended" in first
    assert "(77 B in 5 s)" in second
    rows = list(csv.DictReader(io.StringIO(ask(person, "export", "--format", "csv").stdout)))
    over = next(row for row in rows if row["kind"] == "ended")
    assert ("4423", "3", "9000") == tuple(over[name] for name in ("close", "up", "down_bytes"))


def test_nothing_found_and_a_wrong_time_are_told(home: Person) -> None:
    """Not as an empty table."""
    done = ask(home, "search", "--request", "none")
    assert (0, "", "No record fits.\n") == (done.exit_code, done.stdout, done.stderr)
    wrong = ask(home, "search", "--since", "yesterday")
    assert (2, True) == (wrong.exit_code, "2h, 3d ago" in wrong.stderr)


def test_an_export_is_the_trail_itself_or_a_table(home: Person) -> None:
    """As JSON lines byte for byte, links too; as CSV without anything that a spreadsheet runs."""
    (file,) = (home.home / "state/audit").glob("*/*.jsonl")
    assert file.read_text() == ask(home, "export").stdout
    assert [{"intent": 4, "id": "o1"}] == [
        {name: fields[name] for name in ("intent", "id")}
        for line in ask(home, "export", "--outcome", "broker", "--request", "o1").stdout.splitlines()
        if (fields := json.loads(line))
    ]
    rows = list(csv.DictReader(io.StringIO(ask(home, "export", "--format", "csv", "--orders").stdout)))
    assert ["o1", "'=1+1", "o2"] == [row["id"] for row in rows]
    assert ["broker", "halted", "unknown"] == [row["outcome"] for row in rows]


def test_where_nothing_was_recorded(person: Person, invocation: Invocation) -> None:
    """The message says what would make a trail."""
    assert invocation.config is not None
    for arguments in (["tail"], ["search"], ["export"]):
        done = ask(person, *arguments)
        assert (1, True) == (done.exit_code, "there is no audit trail at" in done.stderr), done.output


def test_a_trail_is_verified(home: Person) -> None:
    """With the master key; what was changed is named by file and line, and the exit code says so."""
    done = ask(home, "verify")
    assert 0 == done.exit_code, done.output
    assert "✓ trail " in done.stdout
    assert ": 11 records (1 to 11) hold" in done.stdout
    assert "1 calls without an outcome: bearerd audit search --outcome unknown" in done.stdout

    (file,) = (home.home / "state/audit").glob("*/*.jsonl")
    file.write_text(file.read_text().replace("***999", "***998"))
    done = ask(home, "verify", "--json")
    assert 1 == done.exit_code
    (trail,) = json.loads(done.stdout)["trails"]
    assert {"file": file.name, "line": 6, "problem": "it was changed, or what stood before it was"} in trail["faults"]
    assert f"✗ {file.name}:6: it was changed" in ask(home, "verify").stdout


def test_a_server_is_looked_at_while_it_runs(customer: Person) -> None:
    """Its start, a halt that an operator asked for, and who that was; the trail holds meanwhile, and follows on."""
    server = customer.serve()
    follower = customer.start("audit", "tail", "-f", "--json")
    assert 0 == customer.run("halt", "questrade", "--reason", "lunch").code
    done = customer.run("audit", "search", "--acts", "--json")
    acts = [json.loads(line) for line in done.out.splitlines()]
    assert [("halt", "done", "lunch")] == [
        (act["act"], act["outcome"], act["about"]["reason"]) for act in acts if act["act"] == "halt"
    ]
    assert acts[-1]["who"].startswith("uid ")
    verified = customer.run("audit", "verify", "--json")
    assert (0, []) == (verified.code, verified.document["trails"][0]["faults"]), verified.err
    eventually_in(follower.stdout, '"act": "halt"')
    assert 0 == server.stop()
    assert 0 == customer.run("audit", "verify").code
    last = json.loads(customer.run("audit", "tail", "-n", "1", "--json").out)
    assert "stopped" == last["kind"]


def eventually_in(file: Path, text: str) -> None:
    """Return once a program has written this. AssertionError after a while."""
    end = time.monotonic() + 10
    while text not in file.read_text():
        assert time.monotonic() < end, file.read_text()
        time.sleep(0.05)
