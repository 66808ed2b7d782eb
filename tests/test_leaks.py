"""Nothing that bearerd writes holds a secret.

What the product writes while `stage.py` drives it is searched, surface by surface, for every secret in eight encodings.
That the search would find one is shown on each surface too.
"""

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests import canaries
from tests.callers import ask
from tests.product import COMMAND, ROOT, Program, run
from tests.stage import configuration, drive, staged

# Something that must stand on a surface, or it was not captured at all.
MARKS = {
    "stderr and log of serve": b'"event": "call"',
    "process list": b"-m proxy serve",
    "/proc of serve": b"BEARERD_CONSOLE_TOKEN_FILE",
    "state files while it runs": b"SQLite format 3",
    "state files in the end": b"SQLite format 3",
    "the console's page": b"<html",
    "the console's refusals": b"403",
    "the console's forms": b"Not done.",
    "a new key at the console": b"It is shown this once.",
    "the console after it": b"This key has been shown",
    "live updates": b"data: {",
    "/metrics": b"# HELP bearerd_",
    "refusals": b"scope-denied",
    "answers to redirects": b"is logged in at questrade",
    "bearerd login paged --complete": b"paged is logged in",
    "unreadable requests": b"bad-request",
    "answers under faults": b"login-needed",
    "answers of the broker": b"26598145",
    "audit trail": b'"outcome":"scope-denied"',
    "bearerd audit tail -n 1000": b"/questrade/v1/accounts",
    "bearerd audit search --json": b'"kind": "act"',
    "bearerd audit export": b'"kind":"opened"',
    "bearerd audit export --format csv": b"seq,time,kind",
    "bearerd audit verify": b"hold",
    "spans": b"POST /v1/accounts/{account}/orders",
    "bearerd doctor": b'"findings"',
    "posts to a webhook": b'"event":"halted"',
    "what a command is told": b"BEARERD_EVENT_TEXT=",
    "bearerd alerts test": b"204 No Content",
    "bearerd alerts list": b"is told of: login-needed",
    "bearerd status": b"questrade",
    "bearerd config show --origin": b"mounts:",
    "bearerd config check": b"config.yaml:",
}


@pytest.mark.timeout(120)
async def test_nothing_that_is_written_holds_a_secret(state_dir: Path) -> None:
    """No surface holds a secret in any encoding, but for a new key and the console's address, once where they are due.

    Each surface was captured, and a secret planted on it would be found in each of the eight encodings.
    """
    async with staged(state_dir) as stage:
        await drive(stage)
    surfaces = stage.surfaces
    assert 30 <= len(surfaces)
    assert [] == [name for name, mark in MARKS.items() if mark not in surfaces[name]]
    assert surfaces.pop("stdout of serve") == b"\n", "serve prints nothing on stdout"

    console = re.escape(f"{stage.console}/?token={stage.secrets['console token']}".encode())
    bot, other = (re.escape(stage.secrets[f"key of {name}"].encode()) for name in ("bot", "other"))
    due = {
        "stderr and log of serve": [b"Console: " + console + b"\n"],
        "a new key at the console": [
            b'<code id="key">' + re.escape(stage.secrets["key of the console"].encode()) + b"</code>"
        ],
        "bearerd clients add bot": [b"(?m)^" + bot + b"$"],
        "bearerd clients add other --json": [b'"key": "' + other + b'"'],
    }
    for name, patterns in due.items():
        surfaces[name] = canaries.without(surfaces[name], patterns)
    hits = list(canaries.search(surfaces, stage.secrets))
    assert [] == hits

    planted = stage.secrets["first refresh token"]
    for name, content in surfaces.items():
        for kind in canaries.KINDS:
            found = canaries.search({name: canaries.middle(content, canaries.written(planted, kind))}, {"it": planted})
            assert kind in {hit.kind for hit in found}, (name, kind)


def test_the_search_sees_process_lists_and_files(state_dir: Path) -> None:
    """A secret in a command line or a file of ours would be found: the way of capturing them is no blind one."""
    secret = "canary+" + secrets.token_urlsafe(18)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)", secret]) as process:
        lines = canaries.command_lines(os.getpid())
        process.kill()
    assert 2 == canaries.count(lines, secret)["plain"]
    for kind in canaries.KINDS:
        (state_dir / "file").write_bytes(b"\0\1" + canaries.written(secret, kind) + b"\xff")
        assert kind in canaries.count(canaries.files(state_dir), secret)


CRASH = """
import asyncio, sys, threading
from proxy import logs
from proxy.secret import Secret
logs.setup(sys.argv[1], "debug", sys.stderr)
logs.catch_uncaught()
token = Secret(open("secret").read())
def crash(refresh_token):
    raise RuntimeError(f"no luck with {refresh_token}")
worker = threading.Thread(target=crash, args=(token.reveal(),))
worker.start(); worker.join()
logs.get("test").error("failed", url=f"https://host/?refresh_token={token.reveal()}", headers={"Authorization": "x"})
try:
    crash(token.reveal())
except RuntimeError:
    logs.get("test").exception("caught")
async def main():
    crash(token.reveal())
asyncio.run(main())
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_hold_no_secret(form: str, tmp_path: Path) -> None:
    """A crash in a thread, in a task, and a logged exception, each with a token in its text and its locals."""
    secret = "canary+/" + secrets.token_urlsafe(18)
    (tmp_path / "secret").write_text(secret)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CRASH, form], cwd=tmp_path, env=environ, capture_output=True, timeout=20, check=False
    )
    assert 3 == done.stderr.count(b"RuntimeError: no luck with ***"), done.stderr
    assert {} == canaries.count(done.stdout + done.stderr, secret)


@pytest.mark.timeout(60)
def test_a_passphrase_stays_out_of_everything(state_dir: Path) -> None:
    """`init` with a passphrase prints one client key, once; after a start and a stop the passphrase is nowhere."""
    secret = "canary " + secrets.token_urlsafe(18)
    (state_dir / "phrase").write_text(secret)
    (state_dir / "phrase").chmod(0o600)
    environ = {"BEARERD_PASSPHRASE_FILE": str(state_dir / "phrase")}
    text = json.dumps(configuration({"token_url": "https://127.0.0.1:9/", "api_hosts": ["127.0.0.1:*"]}))
    text = text.replace("file:master.key", "passphrase").replace('"bot"', '"notebook"')
    (state_dir / "config.yaml").write_text(text)
    init = run(state_dir, "init", "-c", "config.yaml", environ=environ)
    assert 0 == init.code, init.output
    keys = re.findall(r"brd_\w+", init.output)
    assert 1 == len(keys)
    serve = (*COMMAND, "serve", "-c", "config.yaml", "-v", "--log-format", "console")
    server = Program(state_dir, environ=environ, command=serve)
    server.until("To do: ")
    lines = canaries.command_lines(os.getpid())
    status = run(state_dir, "status", "-c", "config.yaml")
    assert 0 == server.stop()
    wrong = {"BEARERD_PASSPHRASE": secret + "x"}
    refused = run(state_dir, "serve", "-c", "config.yaml", environ=wrong)
    assert 5 == refused.code, refused.output
    kept = canaries.files(state_dir / "state")
    assert b"serve" in lines
    surfaces = {
        "init": init.output.encode().replace(keys[0].encode(), b"", 1), "serve": server.output.encode(), "lines": lines,
        "status": status.output.encode(), "refused": refused.output.encode(), "state": kept,
    }  # fmt: skip
    assert [] == list(canaries.search(surfaces, {"passphrase": secret, "key": keys[0]}))


async def test_the_demo_prints_its_keys_once_and_nowhere_else(tmp_path: Path) -> None:
    """The one line on stdout holds both client keys and the console's token; stderr and the other answers none."""
    with Program(tmp_path, "demo", "--json", "--port", "0") as program:
        at = program.document()
        for key in (at["client_key"], at["trader_key"]):
            for method in ("GET", "DELETE"):
                reply = await ask(at["url"], method, f"/questrade/v1/accounts/26598145/orders/{key}", key)
                assert (403, 0) == (reply.status, reply.raw.count(key.encode()))
        metrics = await ask(at["console"], "GET", "/metrics")
    named = {"client": at["client_key"], "trader": at["trader_key"], "console": at["console"].partition("=")[2]}
    once = {name: canaries.count(program.stdout.read_bytes(), secret) for name, secret in named.items()}
    assert {name: {"plain": 1} for name in named} == once
    surfaces = {"stderr": program.stderr.read_bytes(), "metrics": metrics.raw}
    assert b"scope-denied" in surfaces["stderr"]
    assert [] == list(canaries.search(surfaces, named))


@pytest.mark.parametrize("typed", ["{0}", "--token={0}", "--token {0}"])
def test_a_token_typed_as_an_argument_is_not_repeated(typed: str, tmp_path: Path) -> None:
    """Who types a token where none belongs is told so, without the token: terminals and CI logs are kept."""
    secret = "canary-" + secrets.token_urlsafe(18)
    done = run(tmp_path, "login", "questrade", *typed.format(secret).split(" "))
    assert 2 == done.code
    assert {} == canaries.count(done.output.encode(), secret), done.output
