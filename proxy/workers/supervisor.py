"""Holds the processes of one server up: one that keeps custody, and the workers. Knows no secret, opens no port itself.

It keeps the listening sockets that custody has opened, so that no door closes while custody is started anew, and makes
each pair of processes the link by which they talk. One that hangs it kills, see `pulse.py`. It asks for nothing and
decides nothing else. When it is gone, all the others see their links to it end, and end too.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proxy import __version__, logs
from proxy.clock import SystemClock
from proxy.notify import ALIVE, Manager, Notifier
from proxy.workers import vintage
from proxy.workers.link import Link, Message, pair
from proxy.workers.pulse import RISING, SIGNS, SILENCE, Ear

SETTLED = 2.0  # seconds; who dies sooner is started again more slowly
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds
ENDING = 5.0  # seconds for workers to end in when all is over

log = logs.get("workers")


@dataclass(slots=True)
class Post:
    """A process that there is to be. `number` 0 is custody. `serial` tells its incarnations apart."""

    number: int
    serial: int = 0
    process: asyncio.subprocess.Process | None = None
    link: Link | None = None
    ear: Ear | None = None
    since: float = 0.0  # when this one was started, Unix time

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    @property
    def called(self) -> str:
        return f"worker {self.number}" if self.number else "the process that keeps custody"


@dataclass(slots=True)
class Shelf:
    """Listening sockets by name, for the next custody."""

    sockets: dict[str, int] = field(default_factory=dict)

    def put(self, name: str, file: int) -> None:
        self.drop(name)
        self.sockets[name] = file

    def drop(self, name: str) -> None:
        if (file := self.sockets.pop(name, None)) is not None:
            os.close(file)


class Supervisor:
    """`run()` to the end. `custody` and `worker` are command lines, to which the number of a link's file is added.

    `say` hears of deaths, `manager` of what custody has to say to it. `silence`: see `pulse.SILENCE`.
    """

    def __init__(
        self,
        custody: Sequence[str],
        worker: Sequence[str],
        count: int,
        say: Callable[[str], None] = lambda _: None,
        manager: Manager | None = None,
        *,
        silence: float = SILENCE,
    ) -> None:
        self._silence = silence
        self._commands = (tuple(custody), tuple(worker))
        self._say = say
        self._manager = manager or Notifier()
        self._ready = False  # this custody
        self._reload = False  # was asked for while there was none that could
        self._alive = False  # custody has said so since we last did
        self._since = 0.0  # when this custody was started
        self._shelf = Shelf()
        self._custody = Post(0)
        self._workers = {number: Post(number) for number in range(1, count + 1)}
        self._stopping = False
        self._started = False  # custody was ready once
        self._asked = asyncio.Event()  # a stop was asked for

    async def run(self) -> int:
        """Until custody has ended because it was asked to, or could not start. Returns the exit code for our caller."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGHUP, self._hang)
        try:
            async with asyncio.TaskGroup() as group:
                keeping = [group.create_task(self._keep_up(post)) for post in self._workers.values()]
                keeping += [group.create_task(self._live()), group.create_task(self._watch())]
                code = await self._keep_custody()
                self._stopping = True
                for each in keeping:
                    each.cancel()
        finally:
            await self._end_workers()
        return code

    # -- signals ------------------------------------------------------------------------------------------------------

    def _hang(self) -> None:
        """SIGHUP: reload. One that comes while custody is starting may come too late for it to see the change."""
        if self._ready:
            self._pass_on(signal.SIGHUP)
        else:
            self._reload = True

    def _stop(self) -> None:
        self._stopping = True
        self._asked.set()
        self._pass_on(signal.SIGTERM)

    def _interrupt(self) -> None:
        if self._asked.is_set():
            for post in (
                self._custody,
                *self._workers.values(),
            ):  # what matters is on disk: the journal stands any kill
                self._signal(post, signal.SIGKILL)
            os._exit(128 + signal.SIGINT)
        self._stop()

    def _pass_on(self, number: signal.Signals) -> None:
        self._signal(self._custody, number)

    def _signal(self, post: Post, number: signal.Signals) -> None:
        if post.process is not None and post.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                post.process.send_signal(number)

    # -- the service manager ------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """Signs of life, for as long as custody gives them to us; while it is started anew, for a while without."""
        loop = asyncio.get_running_loop()
        while self._manager.every:
            await asyncio.sleep(self._manager.every)
            if self._alive or (not self._ready and loop.time() - self._since < RISING):
                self._manager.tell(**ALIVE)
            self._alive = False

    # -- those that hang ----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Kill who gives no sign of life: whoever keeps it up sees it end, and starts it again."""
        loop, pace = asyncio.get_running_loop(), self._silence / SIGNS
        looked = loop.time()
        while True:
            await asyncio.sleep(pace)
            took, looked = loop.time() - looked, loop.time()
            for post in (self._custody, *self._workers.values()):
                if post.link is None or post.ear is None:
                    continue
                if post.ear.look(took, pace, over=post.link.over):
                    silent, post.ear.silent = post.ear.silent, 0.0
                    log.error("a process hangs and is killed", process=post.called, silent=round(silent, 1))
                    self._signal(post, signal.SIGKILL)

    # -- processes ----------------------------------------------------------------------------------------------------

    async def _keep_custody(self) -> int:
        pause = 0.0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                process = await self._start(self._custody)
            except OSError as error:  # no memory or process to be had at the moment
                if not self._started:
                    raise
                pause = self._not_started(self._custody.called, error, pause)
                if await self._stopped_within(pause):
                    return 0
                continue
            if self._stopping:  # what was asked of the one before reaches nobody
                self._pass_on(signal.SIGTERM)
            for worker in self._workers.values():
                self._introduce(worker)
            code = await process.wait()
            self._hang_up(self._custody)
            if code == vintage.OTHER and self._started:
                log.error("bearerd was replaced while it ran, and ends: start it again")
                return 1
            if code == 0 or self._stopping or not self._started:
                return self._ours(code)
            pause = 0.0 if loop.time() - began > SETTLED else min(LONGEST_PAUSE, pause * 2 or FIRST_PAUSE)
            self._tell(self._custody.called, code)
            self._manager.tell(STATUS="the process that keeps custody ended and is started again")
            if await self._stopped_within(pause):
                return 0

    async def _keep_up(self, post: Post) -> None:
        pause = 0.0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                process = await self._start(post)
            except OSError as error:
                pause = self._not_started(post.called, error, pause)
                await asyncio.sleep(pause)
                continue
            self._introduce(post)
            code = await process.wait()
            self._hang_up(post)
            self._tell(post.called, code)
            pause = 0.0 if loop.time() - began > SETTLED else min(LONGEST_PAUSE, pause * 2 or FIRST_PAUSE)
            pause = LONGEST_PAUSE if code == vintage.OTHER else pause  # the others serve on
            await asyncio.sleep(pause)

    def _ours(self, code: int) -> int:
        """The exit code for our caller, of custody's."""
        if self._stopping and not self._ready and code == -signal.SIGTERM:
            return 0  # as one process ends that does not serve yet: this one did not even listen to signals
        return code if code >= 0 else 128 - code

    def _not_started(self, who: str, error: OSError, pause: float) -> float:
        log.error("a process cannot be started; it is tried again", process=who, reason=error.strerror or "?")
        return min(LONGEST_PAUSE, pause * 2 or FIRST_PAUSE)

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        return self._stopping

    def _tell(self, who: str, code: int) -> None:
        how = signal.Signals(-code).name if code < 0 else f"exit {code}"
        if not self._stopping:
            log.error("a process ended and is started again", process=who, how=how)
            self._say(f"{who} ended ({how}) and is started again")

    async def _start(self, post: Post) -> asyncio.subprocess.Process:
        ours, theirs = pair()
        command = [*self._commands[post.number > 0], str(theirs.fileno())]
        # A worker needs nothing of what stands in our environment, where secrets may be.
        environ = surroundings() if post.number else None
        stdin = asyncio.subprocess.DEVNULL if post.number else None
        try:
            with theirs:
                making = asyncio.ensure_future(
                    asyncio.create_subprocess_exec(*command, pass_fds=(theirs.fileno(),), env=environ, stdin=stdin)
                )
                try:
                    process = await asyncio.shield(making)
                except asyncio.CancelledError:  # uvloop would leave a process that nobody waits for
                    with contextlib.suppress(OSError):
                        post.process = await making
                    raise
        except BaseException:
            ours.close()  # whatever has begun there sees it, and ends
            raise
        post.process, post.serial, post.since = process, post.serial + 1, SystemClock().now().wall
        if not post.number:
            self._ready, self._since = False, asyncio.get_running_loop().time()
        # The first custody may wait for whatever it has to: nobody serves yet, and a person or a manager looks on.
        post.ear = Ear(self._silence, RISING if post.number or self._started else 0.0)
        post.link = Link(ours, lambda message: self._hears(post, message))
        post.link.open()
        self._begin(post, post.link)
        return process

    def _begin(self, post: Post, link: Link) -> None:
        """Tell a process what it has to know first."""
        told: dict[str, object] = {"alive": self._silence / SIGNS}
        if post.number:
            link.say("begin", told)
            return
        names = list(self._shelf.sockets)
        told |= {"sockets": names, "count": len(self._workers), "pid": os.getpid(), "every": self._manager.every / 2}
        link.say("begin", told, files=[self._shelf.sockets[name] for name in names])

    def _introduce(self, worker: Post) -> None:
        """Give a worker and custody a link to each other, if both are there."""
        custody = self._custody.link
        if worker.link is None or custody is None:
            return
        one, other = pair()
        with one, other:
            who = {"number": worker.number, "serial": worker.serial, "pid": worker.pid, "since": worker.since}
            custody.say("worker", who, files=[one.fileno()])
            worker.link.say("link", who, files=[other.fileno()])

    def _hang_up(self, post: Post) -> None:
        link, post.link = post.link, None
        if link is not None:
            link.close()
        if post.number and self._custody.link is not None:
            self._custody.link.say("gone", {"number": post.number, "serial": post.serial})

    def _hears(self, post: Post, message: Message) -> None:
        """Custody has something to say; workers say only that they live."""
        if post.ear is not None:
            post.ear.heard()
        if post is self._custody:
            self._heard(message)

    def _heard(self, message: Message) -> None:
        match message.kind:
            case "ready":
                self._started = self._ready = True
                if self._reload:
                    self._reload = False
                    self._pass_on(signal.SIGHUP)
            case "tell":
                self._alive = True
                if message.data != ALIVE:
                    self._manager.tell(**message.data)
            case "listening":
                self._shelf.put(message.data, message.files[0])
            case "closed":
                self._shelf.drop(message.data)
            case "kill":
                worker = self._workers.get(message.data["number"])
                if worker is not None and worker.serial == message.data["serial"]:
                    self._signal(worker, signal.SIGKILL)
            case _:
                pass

    async def _end_workers(self) -> None:
        """They end when their link does; those that do not are killed."""
        running = [post for post in self._workers.values() if post.process and post.process.returncode is None]
        for post in self._workers.values():
            self._hang_up(post)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                for post in running:
                    await post.process.wait() if post.process else None
        for post in running:
            self._signal(post, signal.SIGKILL)
            if post.process is not None:
                await post.process.wait()
        for name in list(self._shelf.sockets):
            self._shelf.drop(name)


def surroundings() -> dict[str, str]:
    """The environment of a worker: where programs and certificates are, and no settings."""
    names = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONWARNINGS", "SSL_CERT_FILE", "SSL_CERT_DIR")
    return {name: os.environ[name] for name in names if name in os.environ}


def worker_command(loop: str) -> list[str]:
    """How a worker is started, on this event loop; the number of its link's file follows."""
    return [sys.executable, "-P", "-m", "proxy.workers", loop, __version__]
