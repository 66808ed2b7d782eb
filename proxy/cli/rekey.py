"""`bearerd rekey`: seal the store with a new master key."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from proxy.cli.exits import Exit, Stop
from proxy.cli.invocation import Command, Invocation, current

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.store.keys import Source


@click.command(cls=Command)
@click.option("--to", "spec", metavar="SOURCE", help="Another place for the new key, in the form of the setting `key`.")
def rekey(spec: str | None) -> None:
    """Seal everything again with a new master key. The server must be stopped.

    Without --to the new key takes the place of the old one. With it the key is taken from there, or made if it is a
    file that is missing; then change `key` in the configuration. A kill at any moment leaves a store that opens.
    """
    invocation = current()
    config = invocation.settings().config
    asyncio.run(_rekey(invocation, config, spec))
    if invocation.as_json:
        invocation.data({"key": spec or config.key, "store": config.store})
        return
    invocation.say("The store is sealed with the new master key.")
    if spec is not None and spec != config.key:
        invocation.say(f"To do: set `key: {spec}` in {config.name}")
    invocation.say("Copies of the store from before still open with the old key.")


async def _rekey(invocation: Invocation, config: "Config", spec: str | None) -> None:
    from proxy.audit.acts import Acts
    from proxy.cli.progress import Progress
    from proxy.custody import Custody
    from proxy.store import StoreLocked
    from proxy.store.rekey import rekey as seal_again
    from proxy.store.vault import Vault

    source = invocation.source(config)

    def fresh(which: str) -> "Source":
        # A copy: reading a key takes it out of the environment, and the old one is read twice.
        return replace(source, spec=which, environ=dict(invocation.environ))

    try:
        custody = await Custody.open(config, fresh(config.key))
    except StoreLocked as locked:
        who = f"process {locked.holder_pid}" if locked.holder_pid else "another process"
        fix = f"stop it (kill {locked.holder_pid}), then repeat the command" if locked.holder_pid else None
        raise Stop(f"the store is in use by {who}", Exit.STORE, fix) from None
    try:
        acts = Acts(custody.trail)
        await acts.record("rekey", outcome="begun")
        custody.trail.note_end_in(None)  # under the old key nothing may be written from here on
        try:
            with Progress(invocation, "records sealed") as progress:
                sealer = await seal_again(
                    custody.store,
                    fresh(config.key),
                    fresh(spec or config.key),
                    custody.journal,
                    step=progress.step,
                )
        except Exception:
            await acts.record("rekey", outcome="failed")
            raise
        custody.trail.note_end_in(Vault(custody.store, sealer))
        await acts.record("rekey", key_id=sealer.key_id)
    finally:
        await custody.close()
