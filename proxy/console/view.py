"""What the console asks of the server: how things stand, and to do something. What has begun runs to its end.

A browser that leaves ends its request. An act must not end with it half-way, between the store and the audit trail.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from proxy import logs
from proxy.admin import NotPossible
from proxy.config import ConfigInvalid
from proxy.console.callback import Outcome
from proxy.console.recent import Recent, Wanted
from proxy.history import History
from proxy.store import StoreError
from proxy.tokens.errands import LoginFailed

GRACE = 5.0  # seconds that an act may still take when the console stops

log = logs.get("console")


class View(Protocol):
    """What the console shows, none of it secret, and what it lets a person do."""

    def status(self) -> dict[str, Any]:
        """The server's status, as `bearerd status --json` prints it."""

    def ready(self) -> tuple[str, list[str]]:
        """One word (see `Overview.ready`), and a line for each thing that was looked at."""

    def serves(self) -> bool:
        """Whether calls are worth being sent here."""

    def metrics(self) -> bytes:
        """All metrics in Prometheus' text format."""

    async def act(self, command: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        """A command of the admin socket, on record as the console's. Raises what that raises."""

    def asked(self, grant: str) -> dict[str, Any]:
        """What a login of this grant asks of a person: kind, title, asks, login_page. Raises `NotPossible`."""

    async def recent(self, wanted: Wanted, count: int) -> Recent:
        """The newest calls that fit, off the audit trail. Never raises."""

    def history(self) -> History:
        """What was counted in the last hour and day."""

    async def end_login(self, answer: str) -> Outcome:
        """What comes of the address that a broker led back to. Raises `StoreError`."""


class Problem(Exception):
    """Why something was not done, in a sentence for a person; `fix` is what would help."""

    def __init__(self, message: str, fix: str | None = None, status: HTTPStatus = HTTPStatus.CONFLICT) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.status = status


class Asking:
    """Has a `View` do things, and waits for those under way at the end, `grace` seconds at most."""

    def __init__(self, view: View, *, grace: float = GRACE) -> None:
        self._view = view
        self._grace = grace
        self._flights: set[asyncio.Task[dict[str, Any]]] = set()
        self._same: dict[object, asyncio.Task[dict[str, Any]]] = {}
        self._closing = False

    async def do(self, command: str, wish: Mapping[str, Any], who: str = "") -> dict[str, Any]:
        """What the command answers. Raises `Problem`. Whoever leaves meanwhile ends nothing.

        The same wish of the same person (`who`) that is under way is not begun again: somebody has clicked twice.
        """
        if self._closing:
            raise Problem("bearerd is shutting down; nothing was done", status=HTTPStatus.SERVICE_UNAVAILABLE)
        same = (who, command, repr(sorted(wish.items(), key=str)))
        try:
            task = self._same.get(same) or self._begin(same, self._view.act(command, wish))
            return await asyncio.shield(task)
        except NotPossible as error:
            raise Problem(str(error), error.fix) from None
        except (LoginFailed, ConfigInvalid) as error:
            raise Problem(str(error)) from None
        except StoreError as error:
            raise Problem(str(error), status=HTTPStatus.SERVICE_UNAVAILABLE) from None
        except OSError as error:
            raise Problem(error.strerror or type(error).__name__, status=HTTPStatus.SERVICE_UNAVAILABLE) from None

    def _begin(self, same: object, work: Coroutine[Any, Any, dict[str, Any]]) -> "asyncio.Task[dict[str, Any]]":
        task = asyncio.get_running_loop().create_task(work)
        self._flights.add(task)
        self._same[same] = task
        task.add_done_callback(lambda _: self._same.pop(same, None))
        task.add_done_callback(self._landed)
        return task

    def _landed(self, task: "asyncio.Task[dict[str, Any]]") -> None:
        self._flights.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # The text of a foreign exception may hold what was typed.
            log.info("an act at the console was not done", error=type(error).__name__)

    async def close(self) -> None:
        """Begin nothing any more, and let what is under way end, within the grace."""
        self._closing = True
        if self._flights:
            _, late = await asyncio.wait(set(self._flights), timeout=self._grace)
            for task in late:
                task.cancel()
