"""`examples/bot`: what the sample bot does with each kind of answer, against bearerd and a simulated broker."""

import importlib.util
import json
import signal
import sys
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from proxy.cli.ports import reserve
from tests.cli.support import Person
from tests.product import ROOT, Program

FILE = ROOT / "examples/bot/bot.py"


@pytest.fixture(scope="module")
def bot() -> ModuleType:
    """The bot as a module."""
    specification = importlib.util.spec_from_file_location("sample_bot", FILE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Trader:
    """A person whose client `notebook` may do what the bot does, with a bearerd on a port that stays."""

    def __init__(self, customer: Person, port: int, scopes: str) -> None:
        self.customer = customer
        self.url = f"http://127.0.0.1:{port}"
        text = customer.config.read_text().replace("listen: 127.0.0.1:0", f"listen: 127.0.0.1:{port}")
        customer.config.write_text(text.replace("{questrade: [read_md]}", f"{{questrade: [{scopes}]}}"))
        self.key = customer.home / "bot.key"
        self.key.write_text(customer.run("clients", "add", "notebook").out)

    def start(self, *arguments: str, **environ: str) -> Program:
        """The bot, as a process of its own."""
        environ = {"BEARERD_URL": self.url, "BEARERD_KEY_FILE": str(self.key)} | environ
        program = Program(self.customer.home, *arguments, command=[sys.executable, str(FILE)], environ=environ)
        self.customer.programs.append(program)
        return program


def test_it_waits_for_bearerd_and_for_a_login_and_then_reads(customer: Person, new_token: str) -> None:
    """It starts first: nobody is there, then a person has to log in, then there are accounts and a quote."""
    (port,), held = reserve(1)
    trader = Trader(customer, port, "read_acc, read_md")
    bot = trader.start("--every", "0.1")
    bot.until("bearerd is not there (ConnectionRefusedError); again in 1 s")
    with held:
        customer.serve()
    bot.until("503 from bearerd")
    assert "to fix: bearerd login questrade" in bot.output
    customer.run("login", "questrade", "--token-stdin", stdin=new_token)
    bot.until("accounts; AAPL ")

    assert 0 == bot.stop(signal.SIGTERM)
    assert bot.output.endswith("stopped\n")


def test_it_ends_when_it_may_not_do_what_it_does(customer: Person, new_token: str) -> None:
    """With 3 and with what is missing, at a right that it lacks and at a wrong key; with 2 without any key."""
    (port,), held = reserve(1)
    trader = Trader(customer, port, "read_md")
    customer.run("login", "questrade", "--token-stdin", stdin=new_token)
    with held:
        customer.serve()

    lacking = trader.start("--once")
    assert 3 == lacking.end()
    assert "403 from bearerd: " in lacking.output
    assert "read_acc" in lacking.output
    trader.key.write_text("brd_wrong")
    wrong = trader.start("--once")
    assert 3 == wrong.end()
    assert "401 from bearerd: " in wrong.output
    assert 2 == trader.start("--once", BEARERD_KEY_FILE="/nowhere").end()
    trader.key.write_text(f"{trader.key.read_text().strip()}\nand more\n")
    bot = trader.start("--once")
    assert (2, False) == (bot.end(), "brd_" in bot.output)


OURS = {"Proxy-Status": 'bearerd; error=http_request_denied; details="x"'}


@pytest.mark.parametrize(
    ("status", "headers", "kind", "seconds"),
    [
        (400, OURS, "Refused", None),
        (401, OURS, "Refused", None),
        (401, {}, "Later", None),
        (403, OURS, "Refused", None),
        (403, {}, "Refused", None),
        (421, OURS, "Refused", None),
        (429, OURS | {"Retry-After": "7"}, "Later", 7.0),
        (429, {"Retry-After": "0"}, "Later", 1.0),
        (429, {"Retry-After": "soon"}, "Later", None),
        (500, {}, "Later", None),
        (503, OURS | {"Retry-After": "2"}, "Later", 2.0),
        (503, OURS, "Later", None),
        (504, OURS, "Later", None),
    ],
)
def test_it_asks_again_only_where_that_may_help(
    bot: ModuleType, status: int, headers: dict[str, str], kind: str, seconds: float | None
) -> None:
    """After as many seconds as it was told; a refusal of bearerd's ends it."""
    told = Message()
    for name, value in headers.items():
        told[name] = value
    verdict: Any = bot.judge(status, told, json.dumps({"message": "no", "fix": "do it"}).encode())

    assert kind == type(verdict).__name__
    assert seconds == getattr(verdict, "seconds", None)
    assert "no; to fix: do it" in str(verdict)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"text"', b"{}", b"\xff"], ids=range(6))
def test_an_answer_that_is_no_problem_document_is_no_problem(bot: ModuleType, body: bytes) -> None:
    """A broker may answer anything."""
    assert "no reason given" == bot.told(body)


def test_it_needs_nothing_but_python(tmp_path: Path) -> None:
    """It runs without site-packages."""
    program = Program(tmp_path, "--help", command=[sys.executable, "-I", "-S", str(FILE)])

    assert 0 == program.end()
    assert "--symbols" in program.out
