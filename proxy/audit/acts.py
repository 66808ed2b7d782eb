"""What an operator does, on record: durable before the act is answered.

An act that fails to get there has happened all the same, and must not be told otherwise: the log says so loudly, and
the record follows when the disk is back. `check` keeps acts that widen what may be done from beginning at all then.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from proxy import logs
from proxy.audit.caller import caller
from proxy.audit.chain import members
from proxy.audit.record import about
from proxy.audit.trail import PATIENCE, SLOW, Trail
from proxy.store import StoreError

# What an operator asks for that goes on record, and what of it does. No token, secret or key stands under these names.
ON_RECORD: Mapping[str, tuple[str, ...]] = {
    "login": ("mount",),
    "login-complete": ("mount",),
    "adopt": ("mount",),
    "revoke": ("mount",),
    "oauth": ("call", "mount", "client_id"),
    "clients-add": ("name", "grants", "lasts", "expires"),
    "clients-rotate": ("name", "number", "overlap", "lasts", "expires"),
    "clients-remove": ("name", "grant", "number"),
    "halt": ("mount", "scope", "client", "cancels_too", "reason", "by"),
    "resume": ("mount", "scope", "client", "all", "reason", "by"),
}
# Those of them that widen what may be done: not begun while they can't be recorded.
WIDENS = frozenset({"login", "login-complete", "adopt", "oauth", "clients-add", "clients-rotate", "resume", "lend"})

log = logs.get("audit")


class Acts:
    """Records operators' acts. `patience` is for the disk, in seconds."""

    def __init__(self, trail: Trail, *, patience: float = PATIENCE) -> None:
        self._trail, self._patience = trail, patience

    async def record(self, act: str, *, who: str | None = None, outcome: str = "done", **details: Any) -> None:
        """Return when it is durable that `who` did this. Never raises for a disk or store that fails.

        `details` are short texts, numbers or lists of them; None is left out. Secrets are taken out, but better not
        given. `who` is by default whoever asks for the running command, else the user that this process is of.
        """
        actor = who or caller.get(f"uid {os.geteuid()}")
        said = {"who": actor, "act": act, "outcome": outcome, "about": about(details)}
        try:
            async with asyncio.timeout(self._patience):
                await self._trail.open()
                number = self._trail.put("act", members(said))
                await self._trail.durable()
            if not number:
                log.error(
                    "an operator's act is not in the audit trail: too much waits for the disk", act=act, who=actor
                )
        except (OSError, TimeoutError, StoreError) as error:
            reason = getattr(error, "strerror", None) or str(error) or SLOW
            if isinstance(error, TimeoutError):
                self._trail.stuck(SLOW)  # what widens is not begun any more
            log.error("an operator's act is not in the audit trail yet", act=act, who=actor, reason=reason)

    async def open(self) -> None:
        """Make the trail ready, where no server has done so. What hinders that is the trail's `fault` then."""
        try:
            await self._trail.open()
        except (OSError, StoreError) as error:
            self._trail.stuck(getattr(error, "strerror", None) or str(error))

    @property
    def fault(self) -> str:
        """Why acts can't be recorded right now; empty if they can."""
        return self._trail.standing.fault

    def started(self, version: str) -> None:
        """The server has started."""
        self._trail.put("started", members({"version": version, "pid": os.getpid()}))

    def stopped(self) -> None:
        """The server has let its last call end, and stops."""
        self._trail.put("stopped", members({"pid": os.getpid()}))
