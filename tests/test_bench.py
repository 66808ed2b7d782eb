"""The benchmark measures, keeps and shows. How fast anything is does not matter here."""

import json
import shutil
import socket
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import calls, publish, results
from bench.chart import Bar, bars
from bench.parts import PARTS
from bench.peers.bearerd import BEARERD
from bench.peers.peer import Peer, Served, Stage
from bench.plan import Plan
from bench.processes import Missing, Process, free_port, running
from bench.targets import TARGETS, lines
from proxy import __version__

SHORT = Plan(rounds=1, many=1.0, one=0.0, fresh=0.05, warm=0.0)


@contextmanager
def _broken(stage: Stage) -> Iterator[Served]:
    """A proxy that listens, and answers something else."""
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]
    served = stage.listening("broken", lambda port: [*command, str(port)])
    with running(served.process):
        yield served


def _absent() -> str:
    raise Missing("it is not on this machine")


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not on this machine; scripts/setup installs it")
def test_bearerd_is_measured_as_it_is_delivered_and_who_fails_is_missing() -> None:
    """One round of a second: every call is answered, and the row has its figures; others are named with the reason."""
    never = Peer("never", _absent, _broken)
    section = calls.measure(SHORT, [BEARERD, Peer("broken", lambda: "1", _broken), never])

    row = section["proxies"]["bearerd"]
    assert ["bearerd"] == list(section["proxies"])
    assert (__version__, None) == (row["version"], row["one_us"])
    assert all(row[key] > 0 for key in ("cpu_us", "calls_per_second", "fresh_us", "rss_mb"))
    assert section["direct"]["fresh_us"] > 0
    assert "it is not on this machine" == section["missing"]["never"]
    assert section["missing"]["broken"].startswith("it answers 'HTTP/1.0 404")
    assert any(line.startswith("bearerd ") for line in calls.lines(section))


def test_a_program_that_ends_says_why_it_is_missing(tmp_path: Path) -> None:
    """Its last line is the reason, without the folder that it ran in."""
    with (
        running(Process(["ls", str(tmp_path / "nowhere")], 0, tmp_path, "ls")) as process,
        pytest.raises(Missing) as found,
    ):
        process.listening(free_port())

    assert "ls ended with 2: ls: cannot access '…/nowhere'" in str(found.value)


def test_results_of_one_machine_stand_together(tmp_path: Path) -> None:
    """A part takes the place of its last measurement; those of another machine go."""
    file = tmp_path / "results.json"
    results.keep("calls", {"a": 1}, file)
    results.keep("long", {"b": 1}, file)
    results.keep("calls", {"a": 2}, file)

    assert ({"a": 2}, {"b": 1}) == (results.kept(file)["calls"], results.kept(file)["long"])

    file.write_text(json.dumps(results.kept(file) | {"machine": {"cores": 1000}}))
    results.keep("long", {"b": 2}, file)
    assert {"machine", "long"} == results.kept(file).keys()


def test_results_name_no_machine() -> None:
    """What is kept says which processor it was, and neither whose it is nor where anything lies."""
    text = results.FILE.read_text("utf-8") if results.FILE.exists() else ""

    assert socket.gethostname() not in text
    assert [] == [line for line in text.splitlines() if str(Path.home()) in line or "/tmp/" in line]  # noqa: S108


def test_documents_and_charts_show_the_results() -> None:
    """The tables and charts that are in the repository are those that the results make: `python -m bench publish`."""
    wanted = publish.published()

    assert [] == [path.name for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]


def test_a_chart_is_an_image_and_says_what_it_cuts() -> None:
    """Well-formed, in the order of the values, with names that are escaped and a sign where a bar is cut."""
    text = bars("Time <each>", "a & b", "µs", [Bar("slow", 900.0), Bar("<fast>", 9.5, ours=True)], 100.0)
    texts = [each.text for each in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314  ours

    assert ["Time <each>", "a & b", "<fast>", "9.5 µs", "slow", "900 µs (bar cut)"] == texts


def test_every_part_says_what_it_measures() -> None:
    """`make bench ARGS=…` takes these names."""
    assert {"calls", "kinds", "variants", "width", "long", "streams"} <= PARTS.keys()
    assert all(part.about for part in PARTS.values())


def test_a_target_is_met_missed_or_not_measured() -> None:
    """What is measured is held against its bound, from whichever side; what is not measured has no figure."""
    proxies = {"bearerd": {"mb_per_cpu_second": 400.0, "memory_added_mib": 4.5}, "nginx": {"mb_per_cpu_second": 800.0}}
    found = {target.what: target for target in TARGETS}
    results = {"long": {"proxies": proxies}}
    verdicts = {what: target.met(results) for what, target in found.items() if target.met(results) is not None}

    assert {
        "an answer of 64 MiB: bytes for a second of processor time": True,
        "an answer of 64 MiB: memory": False,
    } == verdicts
    assert any(line.startswith("processor time") and line.endswith("not measured") for line in lines(results))
