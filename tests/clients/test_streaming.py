"""Streaming clients, unmodified, side by side on one bearerd: every message, a gap that is told, keys that end.

What they do is in `course.py`, and how they are pointed at bearerd in `docs/clients.md`; the tests look at what each of
them has heard.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.clients.conftest import HERE
from tests.clients.course import (
    AGAIN,
    ENDED,
    ENOUGH,
    GAP,
    IQ,
    NODE,
    OLD,
    ORDERS,
    PRICES,
    PY,
    REFUSED,
    STREAMS,
    TRADIER,
    UVA,
    Course,
    held,
)
from tests.clients.listening import LOG, Line
from tests.clients.product import Demo
from tests.clients.trap import Trap
from tests.product import ROOT


def untold(lines: Sequence[Line], gap: str) -> list[tuple[str, int, int]]:
    """Where a stream's numbers do not go on by one and nothing was said since the last of them: channel, from, to."""
    last: dict[str, int] = {}
    told: set[str] = set()
    found = []
    for _, channel, what in lines:
        if channel == LOG:
            told |= set(last) if gap in str(what) else set()
            continue
        if channel in last and what != last[channel] + 1 and (what <= last[channel] or channel not in told):
            found.append((channel, last[channel], what))
        last[channel] = what
        told.discard(channel)
    return found


def test_a_number_that_is_left_out_is_noticed() -> None:
    """If nothing was said of it since the number before: so the tests below can fail."""
    said = ("stocks", LOG, "messages may have been missed for 0.1 s")
    for lines, wrong in {
        (("trades", 1), ("quotes", 7), ("trades", 2), ("quotes", 8)): [],
        (("trades", 1), ("trades", 3)): [("trades", 1, 3)],
        (("trades", 1), ("trades", 1)): [("trades", 1, 1)],
        (("trades", 1), said, ("trades", 3), ("trades", 5)): [("trades", 3, 5)],
        (("trades", 5), said, ("trades", 4)): [("trades", 5, 4)],
        (("trades", 1), ("quotes", 1), said, ("quotes", 9), ("trades", 9), ("trades", 10)): [],
    }.items():
        told: list[Line] = [line if line is said else ("stocks", *line) for line in lines]
        assert wrong == untold(told, "missed")


def check_prices(course: Course, cuts: int) -> None:
    """Enough on each channel, in order, each once; what a cut has cost is announced in words that the SDK shows."""
    for (name, stream), channels in PRICES.items():
        program = course.programs[name]
        few = [channel for channel in channels if len(program.of(stream, channel)) < (cuts + 1) * ENOUGH]
        assert [] == few, (name, stream, program.said(stream), program.errors)
        assert cuts <= program.said(stream).count(GAP[name]), (name, stream)
        assert [] == untold([line for line in program.lines if line[0] == stream], GAP[name]), (name, stream)


def check_orders(course: Course, cuts: int) -> None:
    """Everybody hears of all, once, in order, from the first that they were there for; a cut ends the socket: 1012."""
    for broker, streams in ORDERS.items():
        for name, stream in streams:
            program = course.programs[name]
            heard, said = program.of(stream, "orders"), program.said(stream)
            for part in course.placed[broker]:
                here = [event for event in heard if event in part]
                assert len(here) >= 10, (name, part, heard, said)
                assert part[part.index(here[0]) :] == here, name
            assert cuts <= said.count(AGAIN[name]), (name, said)


def check_wrong_keys(course: Course) -> None:
    """Each tells it as it would if the broker had refused its credential."""
    said = {name: program.said for name, program in course.programs.items()}
    assert said[PY]("stocks, wrong key").endswith("error during websocket communication: auth failed")
    assert said[PY]("orders, wrong key").endswith("error during websocket communication: failed to authenticate")
    assert said[OLD]("stocks, wrong key").endswith("error during websocket communication: auth failed")
    assert "auth failed\ndisconnected\nserver_rejected 402" in said[NODE]("stocks, wrong key")
    assert "auth failed\ndisconnected\nserver_rejected" in said[NODE]("orders, wrong key")
    assert said[TRADIER]("account, wrong key").startswith("401 Client Error: Unauthorized")
    assert "API Error: 401 Client Error: Unauthorized" in course.programs[UVA].errors
    refused, closed = said[IQ]("quotes, wrong key").splitlines()
    assert (REFUSED[IQ], True) == (refused, closed.startswith("closed: received 4401"))


def check_removed_keys(course: Course) -> None:
    """It is closed with 4401; nothing more comes; and whoever connects again hears that the key does not count."""
    for name, stream in STREAMS:
        lines = course.after((name, stream))
        ends = [at for at, (_, channel, what) in enumerate(lines) if channel == LOG and ENDED[name] in what]
        assert ends, (name, stream, lines[-3:])
        rest = lines[ends[0] + 1 :]
        assert {LOG} == {channel for _, channel, _ in rest}, (name, stream)
        assert any(REFUSED[name] in what for _, _, what in rest), (name, stream, rest)


def check_who_insists_on_tls(course: Course) -> None:
    """uvatradier has `ssl=True` in its code: it is served at the TLS address, each message, until its key ends."""
    said = course.programs[UVA].of("", LOG)
    trades = [int(json.loads(line)["cvol"]) for line in said if line.startswith('{"type":"trade"')]
    assert ENOUGH <= len(trades), (said[:20], course.programs[UVA].errors)
    assert trades == [*range(trades[0], trades[0] + len(trades))]
    assert [line for line in said if "Websocket connection closed" in line and "4401" in line], said[-3:]


def check_sessions(course: Course) -> None:
    """Where `stream.url` leads is the mount of the HTTP stream, for who follows it."""
    streams = f"{course.demo.report['url']}/tradier-stream/v1"
    named = {kind: course.of((TRADIER, "sessions"), kind) for kind in ("market", "account")}
    assert {"market": [f"{streams}/markets/events"], "account": [f"{streams}/accounts/events"]} == named


@pytest.mark.timeout(150)
def test_clients_hear_everything_until_their_keys_end(
    demo: Demo, trap: Trap, node: str, legacy: str, tmp_path: Path
) -> None:
    """Hundreds of messages for six packages on all their streams, across one cut of all the brokers' sockets."""
    with held(demo, trap, (node, legacy), tmp_path) as course:
        check_prices(course, 1)
        check_orders(course, 1)
        check_wrong_keys(course)
        check_removed_keys(course)
        check_who_insists_on_tls(course)
        check_sessions(course)


@pytest.mark.soak
@pytest.mark.timeout(420)
def test_twenty_cuts(demo: Demo, trap: Trap, node: str, legacy: str, tmp_path: Path) -> None:
    """The same over and over: thousands of messages for each of them, and nothing is missing without a word."""
    with held(demo, trap, (node, legacy), tmp_path, 20) as course:
        check_prices(course, 20)
        check_orders(course, 20)


def test_the_documents_show_what_is_run() -> None:
    """Each class and each address in the section on streams is in a program here, in the same place, and none is left
    out."""
    page = (ROOT / "docs/clients.md").read_text().partition("\n## Streams\n")[2].partition("\n## ")[0]
    shown = "\n".join(re.findall(r"^```(?:python|js)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    run = "\n".join(file.read_text() for file in sorted((HERE / "scripts").glob("stream_*")))

    said = set(re.findall(r"""(\w+)(?: = |=|: )['"]\w+://127\.0\.0\.1:\d+(/[\w/.-]+)['"]""", shown))
    done = set(re.findall(r"""(\w+)(?: = |=|: )f?["`]\$?\{\w+\}(/[\w/.-]+)["`]""", run))
    assert said == done
    assert len(said) == 14
    for called in re.findall(r"^(?:const |stream = )?([\w.]*Stream\w*|alpaca\.[\w.]+)\(", shown, re.MULTILINE):
        assert f"{called}(" in run, called
