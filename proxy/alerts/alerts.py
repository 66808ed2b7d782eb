"""Leads all hooks: looks once a second, has each told what concerns it, and keeps what was told."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from proxy import logs
from proxy.admin import NotPossible
from proxy.alerts import told, webhook
from proxy.alerts.denials import Denials
from proxy.alerts.notice import tried
from proxy.alerts.post import OUTCOMES, Pace, Post
from proxy.alerts.sight import Observer, Seen
from proxy.alerts.teller import Teller, new_id, tested
from proxy.alerts.troubles import Troubles
from proxy.config import did_you_mean
from proxy.hooks import EVENTS, Hook
from proxy.metrics import Metrics
from proxy.settings import Settings

LOOK = 1.0  # seconds between looks
DRAIN = 2.0  # seconds that a stop gives to what waits

log = logs.get("alerts")


class Running(Seen, Protocol):
    """What it needs of an `App`."""

    metrics: Metrics


class Alerts:
    """`run()` once the server serves, `close()` when it stops. It goes by the settings as they are at each look."""

    def __init__(
        self,
        app: Running,
        *,
        pace: Pace | None = None,
        look: float = LOOK,
        drain: float = DRAIN,
        observer: Observer | None = None,
    ) -> None:
        self._app = app
        self._pace, self._every, self._patience = pace or Pace(), look, drain
        self._tell = Teller(app.clock, webhook.Names())
        self._posts: dict[str, Post] = {}
        self._counts: dict[str, Counter[str]] = {}  # of hooks that were removed: what is counted never goes back
        self._troubles = Troubles()
        self._observer = observer or Observer(app)
        self._denials: Denials | None = None
        self._known: dict[str, dict[str, Any]] = {}  # what an earlier process has told
        self._path = app.settings.config.state_dir / told.NAME
        self._wake, self._closing = asyncio.Event(), asyncio.Event()
        self._unsaved = asyncio.Event()
        self._saved: dict[str, dict[str, Any]] = {}
        self._running: asyncio.Future[None] | None = None
        self._fault = ""
        self._ending = False

    # -- life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look and tell, until `close()`."""
        self._running = asyncio.get_running_loop().create_future()
        try:
            self._known = await asyncio.to_thread(told.load, self._path)
            self._saved = {name: dict(troubles) for name, troubles in self._known.items()}
            known = {key: trouble for troubles in self._known.values() for key, trouble in troubles.items()}
            self._troubles = Troubles(known.values())
            async with asyncio.TaskGroup() as group:
                tasks = {"": group.create_task(self._keep())}
                while not self._closing.is_set():
                    for name in self._settle(self._app.settings):
                        tasks[name] = group.create_task(_going(self._posts[name]))
                    for name in tasks.keys() - {"", *self._posts}:
                        tasks.pop(name).cancel()
                    self._look_once()
                    await self._nap()
                await self._drain()
                for name in tasks.keys() - {""}:
                    tasks[name].cancel()
                self._ending = True
                self._unsaved.set()
                await asyncio.wait([tasks[""]], timeout=self._patience)
                tasks[""].cancel()
        finally:
            self._running.set_result(None)

    async def close(self) -> None:
        """Tell what waits if that is quick, and end. Harmless twice."""
        self._closing.set()
        self._wake.set()
        if self._running is not None:
            await asyncio.wait([self._running], timeout=2 * self._patience + 1)

    async def _nap(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._every):
                self._wake.clear()
                await self._wake.wait()

    async def _drain(self) -> None:
        self._look_once()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while any(post.busy for post in self._posts.values()):  # noqa: ASYNC110  nobody tells of it
                    await asyncio.sleep(0.02)

    def _settle(self, settings: Settings) -> list[str]:
        """Have a post for each hook; the names of new ones."""
        for name in self._posts.keys() - settings.hooks.keys():
            post = self._posts.pop(name)
            self._counts[name] = post.counts
            if post.waiting:
                log.warning("a hook was removed, and what waited for it is dropped", hook=name, count=post.waiting)
            self._unsaved.set()
        new = []
        for name, hook in settings.hooks.items():
            if name in self._posts:
                self._posts[name].hook = hook
                continue
            post = self._posts[name] = Post(
                hook, self._tell, self._app.clock, new_id, told=self._known.pop(name, None), pace=self._pace,
                changed=self._unsaved.set,
            )  # fmt: skip
            post.counts.update(self._counts.pop(name, {}))
            new.append(name)
        return new

    # -- looking ------------------------------------------------------------------------------------------------------

    def _look_once(self) -> None:
        if not self._posts:
            self._denials = None
            return
        try:
            self._look()
            self._fault = ""
        except Exception as error:  # noqa: BLE001  an observer that ended would be silent for ever
            if self._fault != type(error).__name__:
                log.error("troubles can't be looked for, by a fault of ours", error=type(error).__name__)
            self._fault = type(error).__name__

    def _look(self) -> None:
        now = self._app.clock.now()
        self._troubles.look(self._observer.look(self._troubles.open), now.boot)
        if self._denials is None:
            self._denials = Denials(new_id)
        happened = list(self._denials.look(list(_counted(self._app.metrics)), now))
        for post in self._posts.values():
            post.reconcile(self._troubles.open)
            for notice in happened:
                if notice.event in post.hook.events:
                    post.put(notice)
        self._measure()

    # -- what was told ------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Beside all else: a disk that hangs must not keep anybody from hearing that it does."""
        ending = False
        while not ending:
            await self._unsaved.wait()
            self._unsaved.clear()
            ending = self._ending
            await self._save()

    async def _save(self) -> None:
        posts = {name: dict(post.told) for name, post in self._posts.items()}
        if posts == self._saved:
            return
        try:
            await asyncio.to_thread(told.save, self._path, posts)
            self._saved = posts
        except (OSError, ValueError, TypeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            log.warning("what was told can't be kept; a restart tells it again", reason=reason)

    # -- operators ----------------------------------------------------------------------------------------------------

    def standings(self) -> list[dict[str, Any]]:
        """Every hook and how it goes, as plain data."""
        return [shown(hook) | self._standing(name) for name, hook in self._app.settings.hooks.items()]

    def _standing(self, name: str) -> dict[str, Any]:
        return self._posts[name].standing() if name in self._posts else nothing()

    def warnings(self) -> list[str]:
        """What a person should know of hooks."""
        found = [(each["name"], each["last"]) for each in self.standings() if each["failing_since"] is not None]
        return [
            f"the alert hook {name} fails: {last['said']}. To try it: bearerd alerts test {name}"
            for name, last in found
        ]

    def _measure(self) -> None:
        for name, post in self._posts.items():
            for outcome in OUTCOMES:
                self._app.metrics.alerts(name, outcome, post.counts[outcome])

    async def test(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """Tell the hook that the wish names, or all of them, that this is a test. `NotPossible`."""
        hooks = chosen(self._app.settings.hooks, wish.get("hook"))
        return {"tests": list(await asyncio.gather(*map(self._test, hooks)))}

    async def _test(self, hook: Hook) -> dict[str, Any]:
        notice = tried(new_id(), self._app.clock.now().wall)
        post = self._posts.get(hook.name)
        return tested(hook, await (self._tell(hook, notice) if post is None else post.tell(hook, notice)))


async def _going(post: Post) -> None:
    """A fault of ours must not silence one hook, and still less all of them."""
    while True:
        try:
            await post.run()
        except Exception as error:  # noqa: BLE001
            log.error("a hook failed by a fault of ours", hook=post.hook.name, error=type(error).__name__)
            await asyncio.sleep(LOOK)


def chosen(hooks: Mapping[str, Hook], name: str | None) -> list[Hook]:
    """The hook of that name, or all of them. `NotPossible`."""
    if name is None and hooks:
        return list(hooks.values())
    if name is None:
        raise NotPossible("there are no hooks to tell anything", "add one under `alerts:`, then: bearerd reload")
    if name not in hooks:
        known = ", ".join(hooks) or "none"
        raise NotPossible(f"there is no alert hook '{name}'; known: {known}", did_you_mean(name, hooks))
    return [hooks[name]]


def shown(hook: Hook) -> dict[str, Any]:
    """A hook as plain data, without a secret."""
    return {
        "name": hook.name,
        "kind": hook.kind,
        "to": hook.place,
        "events": [event for event in EVENTS if event in hook.events],
        "repeat": hook.repeat,
        "timeout": hook.timeout,
    }


def nothing() -> dict[str, Any]:
    """How a hook stands that was never told anything."""
    counts = {outcome.replace("-", "_"): 0 for outcome in OUTCOMES}
    return {"waiting": 0, **counts, "failing_since": None, "last": None}


def _counted(metrics: Metrics) -> "list[tuple[tuple[str, ...], float]]":
    return [(labels, cell[0]) for labels, cell in metrics.cells("guard_denials")]
