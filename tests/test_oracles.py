"""No server reads what bearerd sends as a call that was not granted: every trick on every row, held against readers.

What the gate lets through is judged by readers in this process and by real nginx, Apache, HAProxy and Tomcat. The same
readers are shown what the gate refused, and must find it wanting: an oracle that finds nothing proves nothing.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.brokers import builtin
from proxy.errors import Refusal
from proxy.gate.scopes import Match, Row
from proxy.gate.target import parse
from tests import oracles, tricks
from tests.brokers.near import Table, query_of, tables
from tests.composer import Composer
from tests.lab import Lab, running
from tests.readers import PATHS, QUERIES, Judge, Reading, faults, readings

SHORT, SOAK = 4_000, 640_000  # composed targets for each of the eight tables
JUNK = tuple(trick for trick in tricks.read("queries") if trick.family == "junk")

each_table = pytest.mark.parametrize("each", tables(), ids=str)


@dataclass
class Trial:
    """Decides over raw targets of one API as the gateway does, and counts."""

    table: Table
    tried: int = 0
    sent: dict[bytes, Row] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.judge = Judge(self.table.broker, self.table.rows)
        self._match = builtin(self.table.broker).api(self.table.api).table.match

    def decide(self, method: str, raw: str, mount: str | None = None) -> tuple[Row, bytes] | None:
        """The row and the bytes that would go to the broker, or None for a refusal."""
        self.tried += 1
        whole = raw.encode("latin-1")
        try:
            target = parse(whole, mount=mount)
        except Refusal:
            return None
        found = self._match(method, target)
        if not isinstance(found, Match) or found.row.deny:
            return None
        sent = target.sent_as(found.row.sent(target.path))
        if found.row.sent_prefix is None and not whole.endswith(sent):
            self.wrong.append(f"{whole!r} is sent as {sent!r}")
        return found.row, sent

    def judged(self, method: str, raw: str, mount: str | None = None) -> bool:
        """The same, with what is let through shown to the readers. Whether it is let through."""
        decided = self.decide(method, raw, mount)
        if decided is None:
            return False
        row, sent = decided
        self.wrong += [f"{raw!a}, {row.id}: {fault}" for fault in faults(self.judge, row, sent)]
        if len(self.sent) < 20_000:
            self.sent[sent] = row
        return True


def played(table: Table, *, everywhere: bool = False) -> Iterator[tuple[Row, str]]:
    """Every trick on every row's path, below the mount: at one place of it after the other, or at all."""
    for turn, row in enumerate(table.rows):
        path = table.path(row)
        for trick in tricks.read("paths"):
            places = trick.places(path)
            for place in places if everywhere or not places else [places[turn % len(places)]]:
                raw = trick.at(path, place)
                yield row, f"/mount{raw}" if raw.startswith("/") else raw


def asked(table: Table) -> Iterator[tuple[Row, str]]:
    """Every row with queries of the corpus: with all of them where a name decides, else with some."""
    for place, row in enumerate(table.rows):
        names = [*dict(row.when_query), *dict(row.enum), *row.query_without]
        every = tricks.read("queries")
        for trick in every if names else every[place % 16 :: 16]:
            for name in names or ["stream"]:
                text = trick.filled(**tricks.spelled(name, ("true", "false")[place % 2]))
                for query in (text, f"{query_of(row)}&{text}") if query_of(row) else (text,):
                    yield row, f"/mount{table.path(row)}?{query}"


@each_table
def test_no_trick_is_read_as_another_call(each: Table, figure: Callable[[object], None]) -> None:
    """Every trick on every row: refused, or the call of a row in the committed table, and read as such by all."""
    trial, passed = Trial(each), 0
    for row, raw in played(each, everywhere=each.broker != "alpaca"):
        rest = raw.removeprefix("/mount")
        # One doubled slash after the mount is the mount's own: it is never sent.
        plain = "/" + rest.lstrip("/") if rest.startswith("//") and rest[2:3] != "/" else rest
        own = raw != rest and re.fullmatch('[!"$-~]+', raw) is not None and each.in_table(row.method, plain)
        through = trial.judged(row.method, raw)
        passed += through
        assert (own and not row.deny) == through, raw
    passed += sum(trial.judged(row.method, raw) for row, raw in asked(each))
    figure(f"{trial.tried} targets, {passed} let through, {len(trial.wrong)} read as another call")
    assert [] == trial.wrong[:5]


@each_table
def test_every_granted_call_passes(each: Table, figure: Callable[[object], None]) -> None:
    """With any value that fits and anything else in the query, under a mount or at the root; and is read as such."""
    trial, passed = Trial(each), 0
    for place, row in enumerate(row for row in each.rows if not row.deny):
        for which in range(4):
            for junk in ("", *(trick.text for trick in JUNK[(place + which) % 8 :: 8])):
                query = "&".join(part for part in (query_of(row), junk) if part)
                rest = each.path(row, which) + (f"?{query}" if query else "")
                passed += trial.judged(row.method, *((rest, "mount") if which % 2 else (f"/mount{rest}", None)))
    figure(f"{passed} of {trial.tried} granted calls pass, {len(trial.wrong)} are read as another call")
    assert ([], trial.tried) == (trial.wrong[:5], passed)


@pytest.mark.parametrize("trick", [trick for trick in tricks.read("queries") if trick.family in ("override", "broken")],
                         ids=str)  # fmt: skip
def test_another_method_in_the_query_is_refused_on_every_row(trick: tricks.Trick) -> None:
    """However it is spelled, as is what no target may hold."""
    for each in tables():
        trial = Trial(each)
        assert not [row.id for row in each.rows if trial.decide(row.method, f"/mount{each.path(row)}?{trick.text}")]


def composed(each: Table, count: int, seed: int) -> Trial:
    """So many composed targets, decided and judged."""
    trial, composer = Trial(each), Composer(each, Random(seed))  # noqa: S311  a seed, so that a failure comes again
    for _ in range(count):
        row, mount, rest = composer.call()
        trial.judged(row.method, mount + rest)
    return trial


@each_table
def test_no_composition_of_tricks_is_read_as_another_call(each: Table, figure: Callable[[object], None]) -> None:
    """Up to four tricks on one call, from a fixed seed."""
    trial = composed(each, SHORT, 5)
    figure(f"{trial.tried} targets, {len(trial.sent)} different ones let through, {len(trial.wrong)} read otherwise")
    assert [] == trial.wrong[:5]
    assert SHORT // 50 < len(trial.sent)


@pytest.mark.soak
@each_table
def test_no_composition_of_tricks_is_read_as_another_call_in_the_long_run(
    each: Table, program: Callable[[str], str], tmp_path: Path, figure: Callable[[object], None]
) -> None:
    """Five million targets over all tables; of what was let through, thousands are shown to the real servers."""
    trial = composed(each, SOAK, 11)
    for row, raw in played(each, everywhere=True):
        trial.judged(row.method, raw)
    figure(f"{trial.tried} targets, {len(trial.sent)} or more let through, {len(trial.wrong)} read otherwise")
    assert [] == trial.wrong[:5]
    for name in oracles.NAMES:
        directory = tmp_path / name
        directory.mkdir()
        with oracles.running(name, directory, program) as oracle:
            read = oracle.read(list(trial.sent))
            wrong = list(misread(trial, zip(trial.sent, read, strict=True)))
            figure(f"{name}: {len(trial.sent)} shown, {len(wrong)} read as another call")
            assert [] == wrong[:5]


@given(random=st.randoms(use_true_random=False), each=st.sampled_from(tables()))
def test_no_composition_that_hypothesis_finds_is_read_as_another_call(random: Random, each: Table) -> None:
    """The same grammar; what fails is made small."""
    row, mount, rest = Composer(each, random).call()
    trial = Trial(each)
    trial.judged(row.method, mount + rest)
    assert [] == trial.wrong


def misread(trial: Trial, read: Iterable[tuple[bytes, Reading | None]]) -> Iterator[str]:
    """What a server reads as another call. A refusal is no reading."""
    for sent, reading in read:
        fault = trial.judge.fault(trial.sent[sent], reading) if reading else None
        if fault:
            yield f"{sent!r}: {fault} in {reading!r}"


@cache
def let_through() -> tuple[Trial, ...]:
    """Of each row its own call with junk in the query, and a part of the tricks and compositions."""
    trials = []
    for each in tables():
        trial = composed(each, SHORT // 8, 7)
        for place, row in enumerate(each.rows):
            query = "&".join(part for part in (query_of(row), JUNK[place % len(JUNK)].text) if part)
            trial.judged(row.method, f"/mount{each.path(row, place)}?{query}")
        for row, raw in [*islice(played(each), 0, None, 31), *islice(asked(each), 0, None, 3)]:
            trial.judged(row.method, raw)
        trials.append(trial)
    return tuple(trials)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.soak] * (name in oracles.LARGE)) for name in oracles.NAMES]
)
def test_a_real_server_reads_what_was_granted(
    name: str, program: Callable[[str], str], tmp_path: Path, figure: Callable[[object], None]
) -> None:
    """What the gate lets through it reads as that or refuses; what the gate refuses leads it to other resources."""
    shown, refused, wrong = 0, 0, list[str]()
    with oracles.running(name, tmp_path, program) as oracle:
        for trial in let_through():
            read = oracle.read(list(trial.sent))
            shown, refused = shown + len(read), refused + read.count(None)
            wrong += misread(trial, zip(trial.sent, read, strict=True))
        tried, misled = misleading(oracle)
    figure(f"{shown} shown, {refused} refused by it, {len(wrong)} read as another call")
    figure(f"misled by {misled} of {tried} targets that the gate refuses")
    assert [] == wrong[:5]
    assert refused * 10 <= shown
    assert tried / 4 < misled


def misleading(oracle: oracles.Oracle) -> tuple[int, int]:
    """How many targets that the gate refuses a server was shown, and how many it read as a call that is not granted."""
    each = next(each for each in tables() if each.broker == "questrade")
    row = next(row for row in each.rows if row.id == "order")
    trial, path = Trial(each), each.path(row)
    shown = [trick.at(path, place) for trick in tricks.read("paths") for place in trick.places(path)]
    shown = [raw for raw in shown if raw.startswith("/") and trial.decide(row.method, f"/mount{raw}") is None]
    read = oracle.read([raw.encode("latin-1") for raw in shown])
    granted = [other for other in each.rows if other.scope == row.scope and other.method == row.method]
    return len(shown), sum(
        reading is not None and reading.path != path and all(trial.judge.fault(other, reading) for other in granted)
        for reading in read
    )


async def test_what_arrives_is_what_was_matched(figure: Callable[[object], None]) -> None:
    """Through real sockets on both sides: path and query byte for byte, and nothing of what is refused."""
    async with running() as lab:
        expected: list[bytes] = []
        raws = [f"/lab/v1/accounts?{trick.text}" for trick in tricks.read("queries") if trick.family != "broken"]
        raws += [f"/lab{path}" for path in ("//v1/accounts", "/v1/beta/BTC%2FUSD/news:latest?x=%2f")]
        raws += [f"/lab{trick.at('/v1/accounts', 3)}" for trick in tricks.read("paths")[::4]]
        for raw in raws:
            wanted = _wanted(lab, raw)
            expected += [wanted] if wanted else []
            with suppress(asyncio.IncompleteReadError):  # what looks like HTTP/0.9 gets no answer
                reply = await lab.call("GET", raw)
                assert (reply.status == 200) == (wanted is not None), raw
        figure(f"{len(raws)} targets, {len(expected)} at the broker")
        assert expected == [visit.target for visit in lab.broker.visits]
        assert len(raws) / 6 < len(expected) < len(raws)


def _wanted(lab: Lab, raw: str) -> bytes | None:
    """What should arrive, by a reading of our own: the mount cut off, a tabled start replaced."""
    try:
        parse(raw.encode("latin-1"))
    except Refusal:
        return None
    path, mark, query = raw.removeprefix("/lab").partition("?")
    path = path.removeprefix("/") if path.startswith("//") else path
    if path == "/v1/beta/BTC%2FUSD/news:latest":
        path = path.removeprefix("/v1")
    elif path != "/v1/accounts":
        return None
    return f"{path}{mark}{query}".encode("latin-1")


def test_every_reader_is_misled_by_what_the_gate_refuses() -> None:
    """None of the readers in this process is there for show."""
    each = next(each for each in tables() if each.broker == "questrade")
    trial, found = Trial(each), Counter[str]()
    for row, raw in [*played(each), *asked(each)]:
        rest = raw.removeprefix("/mount").replace(" ", "%20")
        if rest.isascii() and rest.isprintable() and trial.decide(row.method, raw) is None:
            found.update(
                name for name, reading in readings(rest.encode("ascii")) if trial.judge.fault(row, reading) is not None
            )
    assert {*PATHS, *QUERIES} == set(found)
    assert 100 <= min(found.values())
