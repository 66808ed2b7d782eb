"""The product in one process, with one mount, in front of any simulated broker, by any of its logins."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from proxy.app import App
from proxy.custody import Custody
from proxy.settings import Settings, read
from proxy.simulator import Links, Simulator, serve
from proxy.store.keys import Source

BACK = "http://127.0.0.1:8081/callback"  # nobody listens there: what comes back to it is pasted


def _prepare(
    directory: Path, broker: str, login: str, mount: Mapping[str, Any], *, links: Links, more: Mapping[str, Any]
) -> tuple[Settings, Source]:
    needs = {name: text for name, text in links.logins[login].items() if name in ("client_id", "client_secret")}
    back = {"redirect_uri": BACK} if needs else {}
    file = directory / "config.yaml"
    config = {
        "version": 1, "listen": "127.0.0.1:0", "console": "off", "store": "sqlite:store.db", "key": "file:master.key",
        "clients": "none", "mounts": {"here": {"broker": broker, "environment": "simulator", "grant": "ada", **mount}},
        "grants": {"ada": {"login": login, **back, **needs}},
        "brokers": {broker: {"environments": {"simulator": dict(links.environment)}}}, **more,
    }  # fmt: skip
    file.write_text(json.dumps(config), "utf-8")
    settings = read(file, {"HOME": str(directory)})
    source = Source(settings.config.key, base=settings.config.base, state=settings.config.state_dir)
    source.create()
    return settings, source


@asynccontextmanager
async def in_front_of(
    directory: Path,
    broker: str,
    login: str,
    *,
    knobs: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
    **mount: Any,
) -> AsyncIterator[tuple[App, Simulator]]:
    """The grant is `ada`, the mount `here`; `mount` holds its scopes and api, `knobs` are the simulator's options.
    `more`: other sections of the configuration.

    Nobody has logged in.
    """
    async with AsyncExitStack() as stack:
        options = serve.knobs([broker], callback=BACK, **(knobs or {}))
        running = await serve.start([broker], directory=directory / "ca", options=options)
        stack.push_async_callback(running.stop)
        simulator = running.simulators[broker]
        prepare = partial(_prepare, directory, broker, login, mount, links=simulator.links(), more=more or {})
        settings, source = await asyncio.to_thread(prepare)
        custody = await Custody.open(settings.config, source)
        stack.push_async_callback(custody.close)
        app = App(settings, custody, lambda: settings)
        stack.push_async_callback(app.stop)
        await app.start()
        yield app, simulator
