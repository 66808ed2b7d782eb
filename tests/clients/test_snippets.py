"""The programs of the console's page and of `docs/clients.md`, run as they stand there against the demo.

Only what a person fills in is there: a client key in the environment. Each must print what the simulated broker holds.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.console import snippets
from proxy.console.languages import GENERIC
from proxy.console.sdks import UNTRIED, Snippet
from proxy.console.snippets import ALL, Program, filled
from tests.clients.conftest import HERE, lacking
from tests.clients.product import Demo
from tests.clients.trap import Trap
from tests.product import ACCOUNT, COMMAND, run

TRADIER, PAPER = "VA000001", "PA3SIMULATED"
# What a program must have printed. Without an entry: the account of the mount's broker.
PRINTED = {
    "alpaca-py 0.44.0 data": "ask_price",
    "lumiwealth-tradier 0.1.18 rest": "George Costanza",  # in a table that pandas cuts short
    "tradier-client 1.0.1 rest": "AAPL",
    "uvatradier 0.4.7 rest": "George Costanza",
}
ACCOUNTS = {
    "questrade": ACCOUNT,
    "tradier": TRADIER,
    "alpaca": PAPER,
    "alpaca-data": "AAPL",
    "alpaca-broker": "account",
}
MOUNTS = {
    ("questrade", "main"): "questrade",
    ("tradier", "rest"): "tradier",
    ("alpaca", "trading"): "alpaca",
    ("alpaca", "data"): "alpaca-data",
    ("alpaca", "broker"): "alpaca-broker",
}
# What `scripts/setup test` installs: where it is missing, CI fails. The others run where they are at hand.
INSTALLED = {"curl", "Python", "Node.js"}
RUN = [snippet for snippet in ALL if UNTRIED not in snippet.note]


def name_of(snippet: Snippet) -> str:
    return " ".join([snippet.client, *(api for _, api in snippet.serves)])


def mount_of(snippet: Snippet) -> str:
    return MOUNTS[snippet.serves[0]] if snippet.serves else "tradier"


@pytest.fixture(scope="module", name="mounts")
def _mounts(demo: Demo) -> Mapping[str, Mapping[str, Any]]:
    """As the console has them."""
    status = json.loads(demo.bearerd("status", "--json"))
    return {mount["name"]: mount for mount in status["mounts"]}


@pytest.fixture(scope="module", name="python")
def _python(trap: Trap, demo: Demo) -> Iterator["subprocess.Popen[str]"]:
    """Runs Python programs one after the other, each in a fork of its own."""
    environ = {**trap.environ, "PATH": "/usr/bin:/bin", "TZ": "UTC", "BEARERD_KEY": demo.key}
    script = str(HERE / "scripts" / "snippet.py")
    with subprocess.Popen(
        [sys.executable, "-P", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module", name="go_cache")
def _go_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("go")


@pytest.fixture(name="ran")
def _ran(
    demo: Demo, trap: Trap, tmp_path: Path, request: pytest.FixtureRequest, go_cache: Path
) -> Callable[[Snippet, Program], str]:
    """What a program prints, run as its language has it."""

    def ran(snippet: Snippet, program: Program) -> str:
        if program.before:
            write_token_file(demo, tmp_path, program.before)
        if snippet.language == "Python" and not snippet.under:
            return forked(request.getfixturevalue("python"), program.code, tmp_path)
        file, command = prepared(snippet, request)
        (tmp_path / file).write_text(program.code)
        if snippet.under:
            command = [*COMMAND, "-c", demo.report["config"], "run", "--client", "demo", "--", *command]
        environ = {**trap.environ, "PATH": os.environ["PATH"], "HOME": str(tmp_path), "BEARERD_KEY": demo.key}
        environ |= {
            "GOCACHE": str(go_cache),
            "GO111MODULE": "off",
            "GOFLAGS": "",
            "NODE_PATH": str(HERE / "node_modules"),
        }
        if snippet.language == "Node.js":
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):  # tradier-client's axios heeds no `no_proxy`
                environ.pop(name, None)
        ended = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=50, check=False
        )
        assert 0 == ended.returncode, ended.stdout + ended.stderr
        return ended.stdout

    return ran


def write_token_file(demo: Demo, home: Path, before: str) -> None:
    """As the command says that comes before a program."""
    name, *arguments = shlex.split(before.replace("~", str(home)))
    assert "bearerd" == name
    Path(home, arguments[arguments.index("--output") + 1]).parent.mkdir(exist_ok=True)
    done = run(home, "-c", demo.report["config"], *arguments, environ={"BEARERD_KEY": demo.key})
    assert 0 == done.code, done.err


def forked(process: "subprocess.Popen[str]", code: str, home: Path) -> str:
    """What a Python program prints."""
    (home / "bot.py").write_text(code)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{home / 'bot.py'}\t{home}\n")
    process.stdin.flush()
    code_ = process.stdout.readline().strip()
    printed = (home / "bot.out").read_text()
    assert "0" == code_, printed
    return printed


def prepared(snippet: Snippet, request: pytest.FixtureRequest) -> tuple[str, list[str]]:
    """Where a program is written to, and the command that runs it; skips where the language is not at hand."""
    if snippet.language == "Node.js":
        return "bot.js", [request.getfixturevalue("node"), *aliased(snippet), "bot.js"]
    if snippet.language == "Python":
        return "bot.py", [request.getfixturevalue("legacy"), "bot.py"]
    file, tool, *arguments = {
        "curl": ("bot.sh", "sh", "-eu", "bot.sh"),
        "Go": ("bot.go", "go", "run", "bot.go"),
        "Java": ("Bot.java", "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "Bot.java"),
    }[snippet.language]
    for needed in {tool, "curl" if snippet.language == "curl" else tool}:
        if shutil.which(needed) is None:
            missing(snippet, needed)
    return file, [tool, *arguments]


def aliased(snippet: Snippet) -> list[str]:
    """Two versions of one npm package are installed, each under a name of its own."""
    if not snippet.client.startswith("@alpacahq/"):
        return []
    version = snippet.client.rpartition(" ")[2].partition(".")[0]
    return ["-r", str(HERE / "scripts" / f"alpaca{version}.cjs")]


def missing(snippet: Snippet, tool: str) -> None:
    reason = f"{tool} is not on this machine"
    if snippet.language in INSTALLED:
        lacking(reason)
    pytest.skip(reason)


@pytest.mark.parametrize("snippet", RUN, ids=name_of)
def test_a_program_runs_as_it_stands_there(
    snippet: Snippet, ran: Callable[[Snippet, Program], str], mounts: Mapping[str, Mapping[str, Any]]
) -> None:
    """It ends well, and has printed what the simulated broker holds."""
    name = mount_of(snippet)
    program = filled(snippet, mounts[name])
    assert PRINTED.get(name_of(snippet), ACCOUNTS[name]) in ran(snippet, program)


@pytest.mark.parametrize("mount", MOUNTS.values())
def test_the_call_of_every_mount_is_one_that_works(
    mount: str, ran: Callable[[Snippet, Program], str], mounts: Mapping[str, Mapping[str, Any]]
) -> None:
    """With curl, at each API that has calls of its own on the page."""
    (curl,) = (snippet for snippet in GENERIC if snippet.language == "curl")
    assert ACCOUNTS[mount] in ran(curl, filled(curl, mounts[mount]))


def test_what_is_not_run_is_counted(figure: Callable[[object], None]) -> None:
    """Those whose language or library nobody can have here, each of which says so; and those of missing languages."""
    untried = [f"{snippet.language}: {snippet.client}" for snippet in ALL if UNTRIED in snippet.note]
    tools = {"Go": "go", "Java": "java"}
    absent = [language for language, tool in tools.items() if shutil.which(tool) is None]
    there = [snippet for snippet in RUN if snippet.language not in absent]
    assert {"Go: alpaca-trade-api-go", "Go: go-tradier", "C#: HttpClient", "C#: Alpaca.Markets", "R: httr2"} == {
        *untried
    }
    assert INSTALLED <= {snippet.language for snippet in there}
    figure(
        f"{len(there)} of {len(ALL)} programs run ({', '.join(dict.fromkeys(each.language for each in there))}); "
        f"not at hand: {', '.join(absent) or 'no language of the others'}; not to be had here: {', '.join(untried)}"
    )


def test_the_console_of_a_real_server_offers_them(mounts: Mapping[str, Mapping[str, Any]]) -> None:
    """For each of the demo's mounts, in Python, with that mount's own address; for sockets there is a sentence."""
    for name, mount in mounts.items():
        shown = snippets.of({"mounts": list(mounts.values())}, "Python", name)
        assert shown is not None
        written = "".join(program.code + program.before for program in shown.programs)
        assert name == shown.mount
        assert mount["url"] in written or "Streams" in shown.notes[0]
