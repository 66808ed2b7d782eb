"""A scrape with a series of every metric, and promtool to look at it with."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from proxy.dials import TokenAges
from proxy.gate.budget import View
from proxy.metrics import Metrics
from tests.scraped import samples_by_name

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"


def promtool(*arguments: str | Path, stdin: bytes = b"") -> str:
    """What promtool says, which has to be content."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not on this machine")
    ran = subprocess.run([program, *arguments], input=stdin, capture_output=True, check=False, timeout=60)
    said = (ran.stdout + ran.stderr).decode()
    assert 0 == ran.returncode, said
    return said


def everything() -> bytes:
    """Every counter has counted and every gauge is set, so that all labels are seen."""
    metrics = Metrics()
    metrics.allow(mounts=["m"], clients=["c"], templates=["/t"], grants=["g"])
    metrics.began()
    metrics.answered(mount="m", template="/t", method="GET", status=200, client="c", seconds=0.02)
    metrics.denied("paced", "m", "c")
    metrics.guard_denied("m", "c", "symbols")
    metrics.alerts("h", "delivered", 1)
    metrics.upstream("m", 200, 0.01)
    metrics.upstream_unauthorized("m")
    metrics.paced("g", "waited", 0.5)
    metrics.handshake_failed("no-tls")
    metrics.stream_messages("m", 1, 2)
    metrics.stream_ended("m", "socket", 1000)
    metrics.token_refresh("g", "renewed")
    metrics.audit(3, 0)
    metrics.log_lines_lost(1)
    metrics.worker_ended()
    metrics.spans("sent")
    _set_all(metrics)
    return metrics.render()


def _set_all(metrics: Metrics) -> None:
    dials = metrics.dials
    dials.process("1.2.3", 1.0, ready=True, draining=False)
    dials.config(changed=False, reload_failed=False)
    dials.workers(2, 2)
    dials.loop(lag=0.001, overloaded=False)
    dials.clock_differs(False)
    dials.store_up(True)
    dials.journal_slots(lambda: 0)
    dials.audit(waiting=0, failing=False)
    dials.certificate(9.0)
    dials.client_keys({"c": 9.0})
    dials.halted({"m": False})
    dials.streams_open({("m", "socket"): 1})
    dials.budgets([("g", "calls", View(20, 7, 0.5, 0.0), 2)])
    dials.token_pair("g", 1, TokenAges(1.0, 2.0, 1.0, 3.0, 4.0))
    dials.standing("g", "fresh", 1.0, {"fresh": 1}, usable=True)


@cache
def labels() -> dict[str, frozenset[str]]:
    """The series that there can be (histograms with `_bucket`, `_sum`, `_count`), and the labels of each."""
    return {
        name: frozenset(label for series in found for label, _ in series)
        for name, found in samples_by_name(everything()).items()
    }


# What Prometheus adds to every series, and what it says of a target.
_ADDED = frozenset({"job", "instance"})
_OF_PROMETHEUS = {"up": frozenset[str]()}
_LISTS = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")


def faults(expression: str) -> Iterator[str]:
    """What is wrong with an expression that promtool can parse: metrics and labels that there are not."""
    known = labels() | _OF_PROMETHEUS
    bare = re.sub(r'"[^"]*"', '""', _LISTS.sub("", expression))
    named = re.findall(r"\b((?:bearerd_\w+)|up)\b(?:\{([^}]*)\})?", bare)
    if not named:
        yield "it asks for no metric"
    found: set[str] = set()
    for metric, matchers in named:
        own = known.get(metric)
        if own is None:
            yield f"there is no {metric}"
            continue
        found |= own
        yield from (
            f"{metric} has no label {label}"
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)
            if label not in own | _ADDED
        )
    for group in _LISTS.findall(expression):
        yield from (f"nothing has a label {each}" for each in re.findall(r"\w+", group) if each not in found | _ADDED)


def grouped(expression: str) -> set[str]:
    """The labels that the outermost result is told apart by."""
    return set(re.findall(r"\w+", next(iter(_LISTS.findall(expression)), "")))


def parsed(directory: Path, expressions: list[str]) -> None:
    """Have promtool parse them all: they become the recording rules of a file."""
    rules = [{"record": f"r:{number}", "expr": text} for number, text in enumerate(expressions)]
    file = directory / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
