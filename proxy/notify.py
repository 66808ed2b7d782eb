"""How it stands, told to the service manager that has started us: systemd's sd_notify, a datagram to a Unix socket.

Without a service manager nothing is told. What it said is taken out of the environment: programs that we start are none
of its business, and one of them could speak for us.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Protocol

LOOK = 2.0  # seconds from one look at how it stands to the next
AGAIN = 0.05  # seconds until what was not taken is said again
_MOST = 20  # states that wait; older ones count no more
_LONGEST = 300  # characters of a status line


class Manager(Protocol):
    """Who starts and watches us, or leads there."""

    @property
    def listens(self) -> bool:
        """Whether there is one."""

    @property
    def every(self) -> float:
        """Seconds from one sign of life to the next; 0: nobody waits for any."""

    def tell(self, **fields: str) -> None:
        """Say this. Never waits, never raises."""


class Notifier:
    """`address`: of the socket, with `@` in front of an abstract one; empty: nobody listens. `every`: see `Manager`."""

    def __init__(self, address: str = "", every: float = 0.0) -> None:
        self.every = every
        self._place = f"\0{address[1:]}" if address[:1] == "@" else address
        self._waiting: deque[str] = deque(maxlen=_MOST)
        self._retry: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> "Notifier":
        """What the environment says; it is said no longer afterwards."""
        address, life, pid = (environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
        watched = address and life.isdecimal() and pid in ("", str(os.getpid()))
        return cls(address if address[:1] in ("/", "@") else "", int(life) / 2e6 if watched else 0.0)

    @property
    def listens(self) -> bool:
        return bool(self._place)

    def tell(self, **fields: str) -> None:
        text = "\n".join(f"{name}={' '.join(value.splitlines())}" for name, value in fields.items())
        if self._place and (not self._waiting or text != self._waiting[-1]):
            self._waiting.append(text)
            self._send()

    def _send(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.settimeout(0)
                while self._waiting:
                    end.sendto(self._waiting[0].encode("utf-8", "backslashreplace"), self._place)
                    self._waiting.popleft()
        except BlockingIOError:  # it has not read what it was told before, by us or by others
            with contextlib.suppress(RuntimeError):  # outside of a loop nobody waits for it
                self._retry = asyncio.get_running_loop().call_later(AGAIN, self._send)
        except OSError:  # whoever does not listen any more has no use for it either
            self._waiting.clear()


def ready(status: str) -> dict[str, str]:
    """It serves; or a reload is over, whatever came of it."""
    return {"READY": "1", "STATUS": status[:_LONGEST]}


def reloading() -> dict[str, str]:
    """A reload begins. The time tells it from an earlier one."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return {"RELOADING": "1", "MONOTONIC_USEC": str(now), "STATUS": "reading the configuration again"}


def stopping(within: float) -> dict[str, str]:
    """A stop begins that may take so many seconds; it is not to be cut before."""
    return {
        "STOPPING": "1",
        "EXTEND_TIMEOUT_USEC": str(int(within * 1e6)),
        "STATUS": "calls inside end, then we do",
    }


ALIVE = {"WATCHDOG": "1"}


async def keep_telling(manager: Manager, standing: Callable[[], str]) -> None:
    """Signs of life of the running loop, and how it stands when that has changed, until cancelled."""
    told = ""
    while manager.listens:
        await asyncio.sleep(min(manager.every, LOOK) or LOOK)
        if manager.every:
            manager.tell(**ALIVE)
        if (now := standing()) != told:
            manager.tell(STATUS=now)
            told = now


def summary(word: str, lines: list[str]) -> str:
    """One line of what `Operations.ready` says: the word, and what is not well."""
    unwell = [line.removeprefix("[-]") for line in lines if line.startswith("[-]")]
    return f"{word}: {'; '.join(unwell)}"[:_LONGEST] if unwell else word
