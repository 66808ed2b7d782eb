"""Reloads that nobody waits for: how often, and of which file."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.audit.caller import caller
from proxy.cli.reloads import Reloads
from proxy.settings import stamp_of
from tests.cli.support import Person
from tests.workers.house import until

LOOK = 0.06  # seconds


class Counted:
    """Notes who has asked, and takes until it is let go on."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.fails = False

    async def reload(self) -> None:
        self.asked.append(caller.get())
        await self.go_on.wait()
        if self.fails:
            raise OSError("no")


@asynccontextmanager
async def running(counted: Counted, file: Path | None = None) -> AsyncIterator[Reloads]:
    reloads = Reloads(counted.reload)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(reloads.run())]
        if file is not None:
            loaded = await asyncio.to_thread(stamp_of, file)
            tasks.append(group.create_task(reloads.watch(file, loaded, look=LOOK)))
        yield reloads
        for task in tasks:
            task.cancel()


async def test_a_thousand_requests_are_two_reloads() -> None:
    """One under way, and one more that sees what has changed since; a failure ends nothing."""
    counted = Counted()
    counted.go_on.clear()
    counted.fails = True
    async with running(counted) as reloads:
        reloads.ask()
        await until(lambda: counted.asked)
        for _ in range(1000):
            reloads.ask()
        counted.go_on.set()
        await until(lambda: len(counted.asked) == 2)
        await asyncio.sleep(0.02)
    assert ["signal", "signal"] == counted.asked


async def test_a_file_is_loaded_once_it_has_settled(tmp_path: Path) -> None:
    """Not in the midst of being written, not while it is away, and not again if it is as it was."""
    file, counted = tmp_path / "config.yaml", Counted()
    file.write_text("one")
    async with running(counted, file):
        for number in range(6):
            file.write_text("x" * (10 + number))
            await asyncio.sleep(LOOK / 3)
        file.unlink()
        await asyncio.sleep(LOOK * 3)
        assert [] == counted.asked
        file.write_text("another")
        await until(lambda: counted.asked)
        stamp, _ = await asyncio.to_thread(stamp_of, file)
        os.utime(file, ns=(stamp, stamp))
        await asyncio.sleep(LOOK * 3)
    assert ["watch"] == counted.asked


def test_serve_watch_takes_over_what_is_saved(customer: Person) -> None:
    """A mistake keeps the old configuration and is told with its line; the next save counts."""
    server = customer.serve("--watch", "--log-format", "console")
    text = customer.config.read_text()
    customer.config.write_text(text.replace("[read_acc, read_md]", "[read_md, nonsense]"))
    server.until("the configuration was not loaded; the old one stays")
    assert "config.yaml:10:23: error: mounts.questrade.scopes.1: Questrade has no scope 'nonsense'" in (
        server.err.replace("\\'", "'")
    )
    customer.config.write_text(text.replace("[read_acc, read_md]", "[read_md]"))
    server.until("mounts.questrade.scopes: - read_acc")
    trail = customer.run("audit", "search", "--json").out
    assert ['"who": "watch"' in line for line in trail.splitlines() if '"act": "reload"' in line] == [True, True]
    assert 0 == server.stop()


@pytest.mark.parametrize("way", ["json", "words"])
def test_a_reload_says_what_has_changed(customer: Person, way: str) -> None:
    """Key by key; before it is done, if asked; which line is wrong; what needs a restart."""
    more = ("--json",) if way == "json" else ()
    customer.serve()
    text = customer.config.read_text()
    customer.config.write_text(text.replace("[read_acc, read_md]", "[read_md]"))

    tried = customer.run("reload", "--dry-run", *more)
    done = customer.run("reload", *more)
    again = customer.run("reload", *more)
    customer.config.write_text(text.replace("environment: simulator", "environment: moon"))
    wrong = customer.run("reload", *more)
    customer.config.write_text(text + "log: {level: debug}\n")
    fixed = customer.run("reload", *more)

    assert [0, 0, 0, 3, 1] == [each.code for each in (tried, done, again, wrong, fixed)]
    if way == "json":
        change = {"changed": ["mounts"], "changes": ["mounts.questrade.scopes: - read_acc"]}
        assert [{"schema": 1, "loaded": each} | change for each in (False, True)] == [tried.document, done.document]
        assert {"schema": 1, "loaded": True, "changed": [], "changes": []} == again.document
        assert [("config", False), ("not-possible", False)] == [
            (each.document["kind"], each.document["loaded"]) for each in (wrong, fixed)
        ]
        return
    assert "Would change:\n  mounts.questrade.scopes: - read_acc\n" == tried.err
    assert "Loaded. Changed:\n  mounts.questrade.scopes: - read_acc\n" == done.err
    assert "Loaded. Changed: nothing.\n" == again.err
    assert "config.yaml:" in wrong.err
    assert "mounts.questrade.environment: " in wrong.err
    assert "log can't change in a running server; nothing was loaded (log.level: info → debug, " in fixed.err
    assert "To fix: restart bearerd" in fixed.err
