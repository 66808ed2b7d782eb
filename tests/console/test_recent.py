"""The newest calls as the console shows them: bounded, joined, and nothing of a call that is nobody's business."""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FunctionLoader, StrictUndefined

from proxy.audit import record as records
from proxy.audit.trail import Trail
from proxy.audit.trailfile import name_of
from proxy.console import recent
from proxy.console.page import FILTERS, MOST_CLIENTS
from proxy.console.recent import Recent, Wanted, meaning, newest, row_of
from proxy.errors import KINDS
from tests.audit import trails
from tests.audit.trails import DAY, INSTALL, HandClock, vault
from tests.callers import eventually
from tests.console.shown import mount, status
from tests.house import house

TEMPLATES = Path(recent.__file__).parent / "templates"


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    return asyncio.run(written(tmp_path))


async def written(path: Path) -> Path:
    """A day before: a read, and an order with its answer. Today: refusals, a stream, and two orders without answer."""
    clock = HandClock()
    trail = Trail(path / "audit", vault(), INSTALL, clock=clock)
    await trail.open()
    trail.put("started", '"version":"0","pid":1')
    trail.put("call", records.call(trails.read()))
    number = trail.put("intent", records.intent(trails.order()))
    clock.wall += 2
    trail.put("outcome", records.outcome(trails.order(intent=number, status=200, outcome="broker", seconds=0.25)))
    trail.put("intent", records.intent(trails.order(request_id="o2", mount="tradier")))
    clock.wall += DAY
    trail.put("started", '"version":"0","pid":2')
    trail.put("call", records.call(trails.read(client="notebook", status=403, outcome="scope-denied", row=None)))
    stream = records.Traffic(up=2, down=1200, code=1000)
    trail.put("ended", records.ended(trails.read(row="/stream", seconds=90.0), stream))
    trail.put("act", '"who":"uid 0","act":"halt","about":{}')
    trail.put("intent", records.intent(trails.order(request_id="o3")))
    await trail.close()
    return trail.directory


def outcomes(found: Recent) -> list[tuple[str, str]]:
    return [(row.outcome, row.what) for row in found.rows]


def test_calls_are_shown_the_newest_first_and_an_order_once(directory: Path) -> None:
    """Over two files; an order without an outcome waits, or nobody knows, if the server has ended since."""
    found = newest(directory, Wanted(), 50)
    orders = "/v1/accounts/{account}/orders"
    assert [
        ("waiting", f"/questrade{orders}"),
        ("ended", "/questrade/stream"),
        ("scope-denied", "/questrade"),
        ("unknown", f"/tradier{orders}"),
        ("broker", f"/questrade{orders}"),
        ("broker", "/questrade/v1/accounts/{account}"),
    ] == outcomes(found)
    assert ["!", "✓", "!", "✗", "✓", "✓"] == [row.sign for row in found.rows]
    assert ["", "1m", "0.0 ms", "", "250 ms", "0.0 ms"] == [row.took for row in found.rows]
    assert HandClock().wall == found.since
    assert "" == found.fault


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"client": "notebook"}, ["scope-denied"]),
        ({"mount": "tradier"}, ["unknown"]),
        ({"outcome": "unknown"}, ["waiting", "unknown"]),
        ({"outcome": "broker", "orders": "1"}, ["broker"]),
        ({"orders": "1"}, ["waiting", "unknown", "broker"]),
        ({"refused": "1"}, ["scope-denied"]),
        ({"client": "nobody"}, []),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_filters_are_those_of_the_audit_trail(directory: Path, query: dict[str, str], expected: list[str]) -> None:
    """Client, mount, outcome, only orders, only what was refused."""
    assert expected == [row.outcome for row in newest(directory, Wanted.of(query), 50).rows]


def test_no_more_than_was_asked_for(directory: Path) -> None:
    """The newest of them; the intent of the oldest is looked for further back."""
    assert ["waiting", "ended"] == [row.outcome for row in newest(directory, Wanted(), 2).rows]
    found = newest(directory, Wanted(orders=True), 3)
    assert ["POST", "POST", "POST"] == [row.method for row in found.rows]


def test_what_is_torn_is_passed_over(directory: Path) -> None:
    """A line that is being written, one that is none, one of another shape, and what the next file replaces."""
    whole = outcomes(newest(directory, Wanted(), 50))
    first, last = sorted(directory.iterdir())
    with first.open("ab") as file:
        file.write(b'{"seq":7,"time":1,"kind":"call","outcome":"ghost"}\n\xff\n')
    with last.open("ab") as file:
        file.write(b'nonsense\n[1]\n{"seq":"1","time":2,"kind":"call"}\n{"seq":96,"time":NaN,"kind":"call"}\n')
        file.write(b'{"seq":97,"time":1e300,"kind":"call"}\n{"seq":98,"time":2,"kind":"outcome","intent":[1]}\n')
        file.write(b'{"seq":99,"time":2,"kind":"call","outcome":"gh')
    assert whole == outcomes(newest(directory, Wanted(), 50))


def test_a_trail_that_cannot_be_read_is_a_sentence(directory: Path) -> None:
    """No trail, and a file that others may read."""
    assert "No such file or directory" == newest(directory / "none", Wanted(), 5).fault
    os.chmod(max(directory.iterdir()), 0o644)  # noqa: PTH101
    found = newest(directory, Wanted(), 5)
    assert ("chmod 600" in found.fault, []) == (True, list(found.rows))


def long(directory: Path, count: int) -> Path:
    """A file of so many calls, one a second, without links: nobody verifies here."""
    directory.mkdir(mode=0o700)
    lines = (
        f'{{"seq":{seq},"time":{1_795_000_000 + seq},"kind":"call",{records.call(trails.read(request_id=f"r{seq}"))},'
        f'"link":"{"0" * 64}"}}\n'
        for seq in range(1, count + 1)
    )
    file = directory / name_of(1)
    file.write_text("".join(lines))
    file.chmod(0o600)
    return directory


def test_reading_is_bounded(tmp_path: Path, figure: Callable[[object], None]) -> None:
    """However long the trail is: at most half a MiB, whose oldest call is named; far less without filters."""
    directory = long(tmp_path / "trail", 20_000)
    size = (directory / name_of(1)).stat().st_size
    begun = time.perf_counter()
    usual = newest(directory, Wanted(), 50)
    took = time.perf_counter() - begun
    nothing = newest(directory, Wanted(client="nobody"), 50)
    slowest = time.perf_counter() - begun - took
    assert (50, []) == (len(usual.rows), list(nothing.rows))
    assert nothing.since is not None
    assert usual.since is not None
    looked = 1_795_020_000 - nothing.since
    assert 0.9 < looked * size / 20_000 / recent.MOST <= 1.0
    assert usual.since > nothing.since + looked / 2
    figure(f"50 calls in {took * 1000:.1f} ms; {looked:.0f} calls in {slowest * 1000:.1f} ms")


def test_an_intent_further_back_than_is_read(tmp_path: Path) -> None:
    """An order whose outcome alone is read is still shown as an order."""
    directory = long(tmp_path / "trail", 500)
    file = directory / name_of(1)
    file.write_text(
        file.read_text()
        + '{"seq":501,"time":1795000501,"kind":"outcome","id":"o","client":"bot","mount":"tradier","intent":1,'
        '"status":200,"outcome":"broker","ms":3.0}\n'
    )
    (row,) = newest(directory, Wanted(orders=True), 5, most=20_000).rows
    assert ("", "/tradier", "broker", True) == (row.method, row.what, row.outcome, row.order)


def test_lines_longer_than_a_piece_are_read_whole(tmp_path: Path) -> None:
    """A record is put together from the pieces that it lies in."""
    directory = long(tmp_path / "trail", 3)
    file = directory / name_of(1)
    line = json.dumps({"seq": 4, "time": 1795000004.5, "kind": "call", "outcome": "here", "client": "x" * 200_000})
    file.write_text(file.read_text() + line + "\n" + '{"torn":"' + "y" * 200_000)
    found = newest(directory, Wanted(), 50)
    assert ["here", "broker", "broker", "broker"] == [row.outcome for row in found.rows]
    assert 120 == len(found.rows[0].client)


@pytest.mark.parametrize("outcome", recent.OUTCOMES)
def test_every_outcome_means_something(outcome: str) -> None:
    """In words that are not the name once more."""
    assert meaning(outcome, None) not in (outcome, "", meaning("nonsense", None))


def test_a_refusal_with_two_statuses_means_two_things() -> None:
    """Whether anything was sent depends on the status."""
    fitting = {kind.status: kind.title for kind in KINDS.values() if kind.name == "broker-unreachable"}
    assert fitting == {status: meaning("broker-unreachable", status) for status in (502, 503)}
    assert "an error of its own" in meaning("broker", 500)


def test_a_query_that_nobody_s_form_sends_is_passed_over() -> None:
    """Outcomes that there are not, too long names, control characters."""
    nonsense = {"outcome": "x", "client": "a" * 200, "mount": "a\x1b[2J", "orders": "yes", "refused": "", "zzz": "1"}
    assert Wanted() == Wanted.of(nonsense)
    assert Wanted().anything
    assert not Wanted.of({"orders": "1"}).anything


def test_types_that_no_server_writes_break_nothing() -> None:
    """What somebody has put into the file by hand is shown as far as it can be."""
    strange: dict[str, Any] = {"kind": "call", "time": 1, "status": True, "outcome": 5, "ms": "x", "client": ["a"]}
    row = row_of({**strange, "mount": None, "row": "\u202e/x"})
    assert ("", "", "", "?/x", "") == (row.status, row.outcome, row.client, row.what, row.took)


def rendered(found: Recent, **query: str) -> str:
    environment = Environment(
        loader=FunctionLoader(lambda name: (TEMPLATES / name).read_text()), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= FILTERS
    environment.globals["most_clients"] = MOST_CLIENTS
    return environment.get_template("recent.html.j2").render(
        records=found,
        wanted=Wanted.of(query),
        query=query,
        status=status(mount(), mount("<b>")),
        link=lambda **_: "./?",
    )


def test_the_page_shows_rows_and_a_form(directory: Path) -> None:
    """Escaped, with what was chosen still chosen, and the other fields of the address carried along."""
    found = newest(directory, Wanted(), 50)
    page = rendered(found, client="gone", orders="1", span="24h")
    assert 7 == page.count("<tr>")
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "<option selected>gone</option>" in page
    assert '<input type="hidden" name="span" value="24h">' in page
    assert 'value="1" id="recent-orders" checked' in page
    assert "26598145" not in page
    assert "close code 1000, 2 messages up, 1,200 down" in page


def test_the_page_begins_with_few_rows(tmp_path: Path) -> None:
    """The others come with one more look, and go again."""
    found = newest(long(tmp_path / "trail", 60), Wanted(), recent.COUNT)
    few, many = rendered(found), rendered(found, rows="all")
    assert (1 + recent.USUAL, 1 + recent.COUNT) == (few.count("<tr>"), many.count("<tr>"))
    assert "35 more</a>" in few
    assert "the newest 15 alone</a>" in many
    assert "more</a>" not in rendered(Recent(found.rows[:3]))


def test_a_page_without_rows_says_why() -> None:
    """Nothing yet, nothing that fits, or a trail that can't be read, whose secrets and numbers are masked."""
    assert "No call yet." in rendered(Recent())
    assert "No call fits since" in rendered(Recent(since=1.0), client="a")
    assert "can't be read: denied" in rendered(Recent(fault="denied"))


async def test_calls_of_a_running_server_are_there_within_two_seconds(state_dir: Path) -> None:
    """A read, a refusal and an order over real sockets, from the trail's own files; nothing of paths or bodies."""
    async with house(state_dir) as home:
        target = "/questrade/v1/accounts/26598145"
        assert 200 == (await home.call("GET", f"{target}/positions?secret=1")).status
        assert 403 == (await home.call("GET", f"{target}/nothing")).status
        assert 200 == (await home.order()).status
        found = Recent()
        async for _ in eventually(2.0, 0.05):
            found = await home.app.operations.recent(Wanted(), 50)
            if len(found.rows) == 3:
                break
    order, refused, read = found.rows
    assert ("200", "broker", "POST", True) == (order.status, order.outcome, order.method, order.order)
    assert ("403", "scope-denied", "/questrade") == (refused.status, refused.outcome, refused.what)
    assert "/questrade/v1/accounts/{account}/positions" == read.what
    assert not {"26598145", "secret", "nothing"} & set(re.findall(r"[A-Za-z0-9]+", repr(found)))
