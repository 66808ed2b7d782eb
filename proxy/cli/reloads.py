"""Reloads that nobody waits for: at SIGHUP, and, with `--watch`, when the configuration's file has changed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from proxy import logs
from proxy.audit.caller import caller
from proxy.settings import stamp_of

LOOK = 0.3  # seconds from one look at the file to the next; two that see the same: nobody writes any more

log = logs.get("serve")


class Reloads:
    """One at a time; however often it is asked for meanwhile is once more. `reload` raises what it does not load."""

    def __init__(self, reload: Callable[[], Awaitable[object]]) -> None:
        self._reload = reload
        self._asked = asyncio.Event()
        self._by = "signal"

    def ask(self, by: str = "signal") -> None:
        """Reload soon. `by` stands in the audit trail."""
        self._by = by
        self._asked.set()

    async def run(self) -> None:
        """Reload when asked to, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            caller.set(self._by)
            try:
                await self._reload()
            except Exception as error:  # noqa: BLE001  it has been told; a reload that fails must not end the server
                log.debug("a reload has failed", error=type(error).__name__)

    async def watch(self, file: Path, loaded: tuple[int, int], *, look: float = LOOK) -> None:
        """Ask when the file is another than the `loaded` one (its stamp) and stays so, until cancelled.

        `look`: seconds from one look at it to the next.
        """
        before = loaded
        while True:
            await asyncio.sleep(look)
            now = await asyncio.to_thread(stamp_of, file)
            there = now != (0, 0)  # an editor may take it away for a moment
            if there and now == before and now != loaded:
                loaded = now
                self.ask("watch")
            before = now
