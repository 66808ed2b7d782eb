import base64
import io
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import pytest

from proxy import logs
from proxy.redactor import HIDDEN, names_a_secret
from proxy.secret import Secret

CANARY = "canary/Zq7+1= ü"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    level = logging.getLogger().level
    yield
    logs.close()
    logging.getLogger().setLevel(level)


def _written(act: Callable[[], None], form: Literal["json", "console"] = "json", level: Any = "debug") -> str:
    """What is written while `act` runs. pytest's own handlers look away: they let records raise."""
    root, out = logging.getLogger(), io.StringIO()
    others, root.handlers = root.handlers, []
    try:
        logs.setup(form, level, out)
        act()
        logs.close()
    finally:
        root.handlers = others
    return out.getvalue()


def _lines(act: Callable[[], None]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _written(act).splitlines()]


def test_a_line_is_json_with_the_common_fields_first() -> None:
    """Time, level, logger, event, then what was given."""
    (line,) = _lines(lambda: logs.get("proxy.x").bind(mount="q").info("renewed", generation=4))
    assert ["timestamp", "level", "logger", "event", "mount", "generation"] == list(line)
    assert ("info", "proxy.x", "renewed", 4) == (line["level"], line["logger"], line["event"], line["generation"])


def test_foreign_records_take_the_same_way() -> None:
    """A library's record is formatted and redacted like ours."""
    (line,) = _lines(lambda: logging.getLogger("aiohttp").warning("sent %s", "Bearer abcdefgh12345"))
    assert ("aiohttp", "sent Bearer ***") == (line["logger"], line["event"])


def test_auto_is_json_unless_on_a_terminal() -> None:
    """A pipe gets JSON; a terminal lines for people, coloured only if asked to."""
    out = io.StringIO()
    logs.setup("auto", "info", out)
    logs.get("x").info("hello")
    logs.close()
    assert "hello" == json.loads(out.getvalue())["event"]
    terminal = _Terminal()
    logs.setup("auto", "info", terminal)
    logs.get("x").info("hello", a=1)
    logs.close()
    assert "hello" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()
    logs.setup("console", "info", coloured := io.StringIO(), color=True)
    logs.get("x").info("hello")
    logs.close()
    assert "\x1b" in coloured.getvalue()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_level_is_a_floor() -> None:
    """What is below is not written."""
    assert "" == _written(lambda: logs.get("x").info("quiet"), level="warning")


SURFACES: dict[str, Callable[[Any], None]] = {
    "event": lambda log: log.info(f"got {CANARY}"),  # noqa: G004  what a careless line looks like
    "value": lambda log: log.info("x", note=CANARY),
    "name": lambda log: log.info("x", **{CANARY: 1}),
    "secret": lambda log: log.info("x", value=Secret(CANARY)),
    "bytes": lambda log: log.info("x", raw=f"a {CANARY}".encode()),
    "nested": lambda log: log.info("x", data={"a": [{"b": (CANARY,)}]}),
    "object": lambda log: log.info("x", error=ValueError(CANARY)),
    "bound": lambda log: log.bind(note=CANARY).warning("x"),
    "foreign": lambda _log: logging.getLogger("lib").error("x %s", CANARY),
    "percent": lambda log: log.info(" ".join((quote(CANARY, safe=""), quote_plus(CANARY), quote(CANARY)))),
    "lower percent": lambda log: log.info(re.sub("%..", lambda hit: hit[0].lower(), quote(CANARY, safe=""))),
    "json": lambda log: log.info(json.dumps({"a": CANARY})),
    "repr": lambda log: log.info(repr([CANARY])),
    "exception": lambda log: _fail(log.exception),
    "foreign exception": lambda _log: _fail(logging.getLogger("lib").exception),
}


def _fail(report: Callable[[str], object]) -> None:
    def deep(refresh_token: str) -> None:
        raise ValueError(f"could not use {refresh_token}")

    try:
        deep(CANARY)
    except ValueError:
        report("failed")


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("surface", SURFACES)
def test_a_known_secret_is_written_nowhere(surface: str, form: Literal["json", "console"]) -> None:
    """Once a `Secret` was made of it, its text is not in the log, whatever the way there."""
    Secret(CANARY)
    text = _written(lambda: SURFACES[surface](logs.get("proxy.x")), form)
    assert "***" in text
    for word in ("canary", "Zq7"):
        assert word not in text


def test_the_canary_would_be_seen() -> None:
    """The positive control: an unknown value is written as it is."""
    assert "unknown-value" in _written(lambda: logs.get("x").info("x", note="unknown-value"))


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_base64_is_found_in_every_alignment(before: str) -> None:
    """A key in a Basic header stands at any offset."""
    Secret(CANARY)
    raw = f"{before}{CANARY}:x".encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert HIDDEN in logs.redact(f"Basic-like {encode(raw).decode()}")
        whole = encode(CANARY.encode()).decode()
        assert whole[4:20] not in logs.redact(encode(raw).decode())


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("authorization", True), ("Authorization", True), ("refresh_token", True), ("accessToken", True),
        ("APCA-API-SECRET-KEY", True), ("client_secret", True), ("password", True), ("Set-Cookie", True),
        ("X-Api-Key", True), ("passphrase", True), ("code_verifier", True), ("code", True),
        ("token_url", False), ("key_file", False), ("key_id", False), ("event", False), ("generation", False),
        ("encoding", False), ("keyboard", False), ("tokenize", False),
    ],
)  # fmt: skip
def test_names_tell_secrets(name: str, *, secret: bool) -> None:
    """Whole words count, in any spelling of a name; what only points to a secret is shown."""
    assert secret == names_a_secret(name)
    (line,) = _lines(lambda: logs.get("x").info("x", data={name: "plain"}))
    assert ("***" if secret else "plain") == line["data"][name]


def test_numbers_are_shown_under_any_name() -> None:
    """`code=1017` is what one looks for in a log."""
    (line,) = _lines(lambda: logs.get("x").info("x", code=1017, token=None))
    assert (1017, None) == (line["code"], line["token"])


def test_deep_and_odd_values_are_harmless() -> None:
    """Endless nesting is cut off, a broken `repr` becomes the type's name."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("canary")

    endless: list[Any] = []
    endless.append(endless)
    (line,) = _lines(lambda: logs.get("x").info("x", endless=endless, odd=Odd()))
    assert "<Odd>" == line["odd"]
    assert "…" in json.dumps(line["endless"], ensure_ascii=False)


def test_a_record_that_cannot_be_rendered_is_still_a_line() -> None:
    """Wrong arguments of a foreign record cost its text, not the caller."""
    (line,) = _lines(lambda: logging.getLogger("lib").warning("%d", "no number"))
    assert ("a log record could not be rendered", "lib") == (line["event"], line["logger"])


def test_tracebacks_have_frames_and_no_locals() -> None:
    """Type, message and frames; what the variables held is not printed, even with rich installed."""
    (line,) = _lines(lambda: _fail(logs.get("x").exception))
    assert "Traceback" in line["exception"]
    assert "in deep" in line["exception"]
    assert "refresh_token = " not in line["exception"]


class _Broken(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_a_broken_sink_does_not_reach_the_caller() -> None:
    """The line is lost, the caller goes on."""
    logs.setup("json", "info", _Broken())
    logs.get("x").info("hello")
    logs.close()


def test_a_blocked_sink_costs_lines_not_time() -> None:
    """With the pipe full, 20,000 lines take no longer; when it flows again the loss is said."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", buffering=1) as stream:
        logs.setup("json", "info", stream)
        log = logging.getLogger("x")
        began = time.monotonic()
        for number in range(20_000):
            log.info("%d", number)
        assert time.monotonic() - began < 20
        with os.fdopen(reader) as pipe:
            drained: list[str] = []
            thread = threading.Thread(target=lambda: drained.extend(pipe), daemon=True)
            thread.start()
            _until(lambda: len(drained) > 5000)
            log.info("after")
            _until(lambda: any('"after"' in line for line in drained))
            logs.close()
            stream.close()
            thread.join(5)
    assert any("log lines were lost" in line for line in drained)


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_an_endlessly_blocked_sink_does_not_stop_the_end() -> None:
    """Closing waits a second at most."""

    class Blocked(io.StringIO):
        def write(self, _text: str) -> int:
            threading.Event().wait(30)
            return 0

    logs.setup("json", "info", Blocked())
    logs.get("x").info("hello")
    began = time.monotonic()
    logs.close()
    assert time.monotonic() - began < 5


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)


def test_what_nobody_caught_is_logged_without_secrets() -> None:
    """Uncaught exceptions of the program and of threads go through the redactor; what waits is written at the end."""
    found = _run("""
        import sys, threading
        from proxy import logs
        from proxy.secret import Secret
        Secret("canary-value")
        logs.setup("json", "info", sys.stderr)
        logs.catch_uncaught()
        def fail():
            raise RuntimeError("canary-value in a thread")
        thread = threading.Thread(target=fail); thread.start(); thread.join()
        raise RuntimeError("canary-value at the top")
    """)
    assert 1 == found.returncode
    lines = [json.loads(line) for line in found.stderr.splitlines()]
    assert ["uncaught exception"] * 2 == [line["event"] for line in lines]
    assert "canary" not in found.stderr
    assert "RuntimeError: *** at the top" in found.stderr


def test_nothing_is_printed_before_the_set_up() -> None:
    """A process that never called `setup` prints no record on its own."""
    found = _run("""
        from proxy import logs
        logs.get("x").error("canary")
        import logging
        logging.getLogger("y").error("canary")
    """)
    assert ("", "", 0) == (found.stdout, found.stderr, found.returncode)


def test_structlog_is_imported_with_the_first_line_only() -> None:
    """Importing and getting a logger leaves `--help` fast."""
    found = _run("""
        import sys
        from proxy import logs
        logs.get("x")
        print("structlog" in sys.modules)
        logs.get("x").info("written nowhere: nobody has set it up")
        print("structlog" in sys.modules)
        logs.get("x").warning("hello")
        print("structlog" in sys.modules)
    """)
    assert "False\nFalse\nTrue\n" == found.stdout
