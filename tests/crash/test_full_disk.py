"""A disk that runs full under a server that serves, `kill -9`, space again: it serves on, without a person.

The disk is a real one of three MiB, in a mount namespace of its own. A file system that overwrites in place (tmpfs
does) always has room for an answer: the journal was written in full when it was made. One that writes elsewhere, as
copy-on-write file systems do, is had by taking the journal's empty slots off the disk again.
"""

import asyncio
import ctypes
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import ServerGone, call
from proxy.cli.ports import reserve
from proxy.simulator import serve
from proxy.simulator.questrade.broker import Questrade
from proxy.simulator.questrade.options import Options
from proxy.store.keys import Source
from tests.callers import ask, eventually
from tests.crash.tracing import forbidden
from tests.product import COMMAND, Program

SIZE = "3m"
LIFE = 2  # seconds that an access token lives
READS = ["read_acc"]
CALL = ("GET", "/questrade/v1/accounts")
PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01


@dataclass(frozen=True, slots=True)
class Disk:
    """A small file system at `directory`, to be seen in the namespace of process `keeper` only."""

    keeper: int
    directory: Path

    @property
    def outside(self) -> Path:
        """The same directory, as this process sees it."""
        return Path(f"/proc/{self.keeper}/root{self.directory}")

    def within(self, home: Path) -> tuple[str, ...]:
        """What to put before a command that is to run there."""
        user = () if os.geteuid() == 0 else ("-U", "--preserve-credentials")
        return ("nsenter", "-t", str(self.keeper), "-m", *user, "sh", "-c", 'cd "$0" && exec "$@"', str(home))

    def fill(self) -> None:
        """Until not a byte is left. Blocks."""
        with (self.outside / "filler").open("wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def empty(self) -> None:
        (self.outside / "filler").unlink()

    def take_room_away(self) -> None:
        """Let each empty part of the journal need a place on the disk before it can be written. Blocks."""
        libc, block = ctypes.CDLL(None, use_errno=True), 4096
        descriptor = os.open(self.outside / "journal", os.O_RDWR)
        try:
            for offset in range(0, os.fstat(descriptor).st_size, block):
                if any(os.pread(descriptor, block, offset)):
                    continue
                punched = libc.fallocate(descriptor, PUNCH_HOLE_KEEP_SIZE, ctypes.c_long(offset), ctypes.c_long(block))
                assert punched == 0, os.strerror(ctypes.get_errno())
        finally:
            os.close(descriptor)


@asynccontextmanager
async def small_disk(directory: Path) -> AsyncIterator[Disk]:
    """Skips the test where no file system may be mounted, which CI may."""
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    script = f'mount -t tmpfs -o size={SIZE},mode=0700 tmpfs "$1" && echo mounted && exec cat'
    keeper = await asyncio.create_subprocess_exec(
        "unshare", "-m", *user, "sh", "-c", script, "sh", str(directory),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        if await keeper.stdout.readline() != b"mounted\n":
            _, said = await keeper.communicate()
            forbidden(f"no file system may be mounted here: {said.decode().strip()}")
        yield Disk(keeper.pid, directory)
    finally:
        keeper.stdin.close()
        await keeper.wait()


@dataclass
class Scene:
    """A simulator, and a server in front of it whose state is on a small disk."""

    home: Path
    disk: Disk
    simulator: Questrade
    port: int
    server: Program | None = None
    key: str = ""
    answers: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        within = (*self.disk.within(self.home), *COMMAND)
        self.server = Program(self.home, "serve", "-c", "config.yaml", "--log-format", "json", command=within)
        async for _ in eventually(20):
            assert self.server.code is None, self.server.output
            try:
                await self.tell("ready")
            except ServerGone:
                continue
            return
        pytest.fail(self.server.output)

    async def kill(self) -> None:
        if self.server is not None:
            await asyncio.to_thread(self.server.kill)

    async def tell(self, command: str, **arguments: str | None) -> dict[str, Any]:
        done: dict[str, Any] = await call(self.disk.outside / "admin.sock", command, arguments, timeout=20)
        return done

    async def mount(self) -> dict[str, Any]:
        mount: dict[str, Any] = (await self.tell("status"))["mounts"][0]
        return mount

    @property
    def rotations(self) -> int:
        return int(str(self.simulator.state()["rotations"]))

    async def call(self, seconds: float = 20) -> str:
        """One call; what came of it, in a word or two. `held`: nothing for so long."""
        try:
            reply = await asyncio.wait_for(ask(self.url, *CALL, self.key), seconds)
        except TimeoutError:
            word = "held"
        else:
            word = f"{reply.status} {reply.ours or ''}".strip()
        self.answers[word] += 1
        return word

    async def call_as_long_as_served(self) -> None:
        async for _ in eventually(15, pause=0.02):
            if await self.call(0.5) != "200":
                return
        pytest.fail(f"{self.answers} {await self.mount()}")


@asynccontextmanager
async def scene(home: Path) -> AsyncIterator[Scene]:
    """Logged in, with one client, on tokens that live for two seconds."""
    (home / "state").mkdir(mode=0o700)
    (port,), held = reserve(1)
    async with AsyncExitStack() as ending:
        ending.callback(held.close)
        disk = await ending.enter_async_context(small_disk(home / "state"))
        running = await serve.start(directory=home / "ca", options=Options(expires_in=LIFE, slow=0.3))
        ending.push_async_callback(running.stop)
        simulator = running.simulators["questrade"]
        assert isinstance(simulator, Questrade)
        links = simulator.links()
        config = {
            "listen": f"127.0.0.1:{port}",
            "console": "off",
            "store": "sqlite:state/store.db",
            "key": "file:master.key",
            "mounts": {"questrade": {"broker": "questrade", "environment": "simulator", "scopes": READS}},
            "clients": {"bot": {"questrade": READS}},
            "brokers": {"questrade": {"environments": {"simulator": links.environment}}},
        }
        (home / "config.yaml").write_text(json.dumps(config))
        await asyncio.to_thread(Source("file:master.key", home).create)
        here = Scene(home, disk, simulator, port)
        ending.push_async_callback(here.kill)
        await here.start()
        await here.tell("login", mount="questrade", token=links.refresh_token)
        here.key = (await here.tell("clients-add", name="bot"))["key"]
        yield here


async def fill_at_rest(here: Scene) -> None:
    await asyncio.to_thread(here.disk.fill)


async def fill_where_nothing_is_overwritten(here: Scene) -> None:
    await asyncio.to_thread(here.disk.take_room_away)
    await asyncio.to_thread(here.disk.fill)


async def fill_while_the_answer_is_out(here: Scene) -> None:
    here.simulator.faults.add("token-slow", 1)
    before = here.rotations
    async for _ in eventually(10, pause=0.005):
        if here.rotations > before:
            break
    await asyncio.to_thread(here.disk.fill)


@pytest.mark.parametrize(
    ("fill", "redeems"),
    [
        pytest.param(fill_at_rest, 1, id="at-rest"),
        pytest.param(fill_while_the_answer_is_out, 0, id="between-intent-and-commit"),
        pytest.param(fill_where_nothing_is_overwritten, 0, id="no-room-for-the-answer"),
    ],
)
async def test_a_full_disk_and_a_kill_cost_nothing(
    fill: Callable[[Scene], Awaitable[None]],
    redeems: int,
    state_dir: Path,
    program: Callable[[str], str],
    figure: Callable[[object], None],
) -> None:
    """Served while the token lives, no redeem without room for its answer; after a kill and space, all is as before."""
    for name in ("unshare", "nsenter"):
        program(name)
    async with scene(state_dir) as here:
        assert await here.call() == "200"
        await fill(here)
        before = here.rotations
        here.answers.clear()
        await here.call_as_long_as_served()
        full = await here.mount()
        assert here.rotations - before == redeems
        assert set(here.answers) <= {"200", "503 token-unavailable", "held"}
        assert here.answers["200"] > 10
        await here.kill()
        await asyncio.to_thread(here.disk.empty)
        await here.start()
        assert await here.call() == "200"
        found, mount = here.simulator.state(), await here.mount()
        figure(f"{here.answers['200']} calls served while full ({full['reason']}); in the end {mount['state']}")
        assert found["reused_refresh_tokens"] == 0
        assert await nothing_is_missing(here)
        assert here.server is not None
        assert "Traceback" not in here.server.output


async def nothing_is_missing(here: Scene) -> bool:
    """Whether the server comes to have each pair that the broker has issued."""
    async for _ in eventually(3):
        if (await here.mount())["generation"] == here.rotations:
            return True
    return False
