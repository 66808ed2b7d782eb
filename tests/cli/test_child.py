"""bearerd as a child: its surroundings, its deaths."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from proxy.cli.child import Child, surroundings
from proxy.cli.exits import Stop
from tests.product import ROOT


def test_a_child_does_not_inherit_the_person_s_settings() -> None:
    """Neither configuration nor state directories; the package is found wherever the person is."""
    found = surroundings({"PATH": "/bin", "BEARERD_LISTEN": "x", "XDG_STATE_HOME": "x", "STATE_DIRECTORY": "x"})

    assert {"PATH": "/bin", "PYTHONPATH": str(ROOT)} == found
    assert f"{ROOT}{os.pathsep}/mine" == surroundings({"PYTHONPATH": "/mine"})["PYTHONPATH"]


async def test_a_child_that_cannot_start_is_reported(tmp_path: Path) -> None:
    """It is not started over and over: the reason stands above."""
    child = Child(["serve", "-c", str(tmp_path / "none.yaml")], {}, lambda _text: None)

    async def never() -> bool:
        return False

    await child.start()
    with pytest.raises(Stop, match="did not start"):
        await child.until(never)
    await child.stop()


async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    """With another process id, and a word about it; after `stop` it stays down."""
    told = asyncio.Event()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        told.set()

    child = Child(["simulate", "--json"], {"TMPDIR": str(tmp_path)}, say)  # its first one cannot clean up
    await child.start()
    first = child.pid
    async with asyncio.TaskGroup() as group:
        group.create_task(child.keep_up())
        os.kill(first, signal.SIGKILL)
        await told.wait()
        await child.stop()

    assert first != child.pid
    assert [f"bearerd ended (SIGKILL) and was started again as process {child.pid}"] == said
