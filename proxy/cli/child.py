"""bearerd as a process of its own: started, restarted whenever it dies, stopped."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import proxy
from proxy.cli.exits import Stop

START = 30.0  # seconds for the first answer
STOP = 5.0  # seconds to end in, before it is killed
SETTLED = 2.0  # seconds; who dies sooner is started again more slowly
SLOWEST = 2.0

_OURS = ("BEARERD_", "XDG_")
_OURS_BY_NAME = {"STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY"}


class Child:
    """One `bearerd serve`. `say` hears of its deaths; `run` holds it up until it is cancelled."""

    def __init__(self, arguments: list[str], environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        # -P: a folder called `proxy` where the person happens to be is not us.
        self._command = [sys.executable, "-P", "-m", "proxy", *arguments]
        self._environ = surroundings(os.environ) | dict(environ)
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        """The process id of the one that runs now (or ran last)."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start it once. Its output goes to our stderr."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environ, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr.fileno()
        )

    async def keep_up(self) -> None:
        """Start it again each time that it ends, until cancelled or stopped."""
        pause = 0.0
        loop = asyncio.get_running_loop()
        while self._process is not None:
            began = loop.time()
            code = await self._process.wait()
            if self._stopping:
                return
            pause = 0.0 if loop.time() - began > SETTLED else min(SLOWEST, pause * 2 or 0.1)
            await asyncio.sleep(pause)
            await self.start()
            self._say(f"bearerd ended ({_ending(code)}) and was started again as process {self.pid}")

    async def until(self, answers: Callable[[], Awaitable[bool]]) -> None:
        """Return once the coroutine of `answers()` is true. `Stop` if the child ends before, or takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START
        while not await answers():
            if self._process is None or self._process.returncode is not None:
                raise Stop("bearerd did not start; see above")
            if loop.time() > deadline:
                raise Stop(f"bearerd did not answer within {START:.0f} s")
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not end in time. No restart after this."""
        self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def surroundings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a bearerd of its own: without the person's settings, and with this very package."""
    kept = {name: text for name, text in environ.items() if not name.startswith(_OURS) and name not in _OURS_BY_NAME}
    home = str(Path(proxy.__file__).parent.parent)
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [home, environ.get("PYTHONPATH")]))
    return kept


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"
