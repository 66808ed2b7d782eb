"""The audit trail of a person's state directory, written without a server."""

import asyncio

from proxy.audit import record as records
from proxy.audit.acts import Acts
from proxy.audit.chain import members
from proxy.cli.invocation import Invocation
from proxy.config import Config
from proxy.custody import Custody
from proxy.store.keys import Source
from tests.audit.trails import order, read


def write(invocation: Invocation, *more: tuple[str, str]) -> None:
    """Two reads, an order, one whose outcome is unknown, a refusal and an act. The custody is opened and closed.

    `more`: records besides, by kind and text.
    """
    config = invocation.settings().config
    asyncio.run(_write(config, invocation.source(config), more))


async def _write(config: Config, source: Source, more: tuple[tuple[str, str], ...]) -> None:
    custody = await Custody.open(config, source)
    trail = custody.trail
    await trail.open()
    for _ in range(2):
        trail.put("call", records.call(read()))
    number = trail.put("intent", records.intent(order(sent="d1")))
    trail.put("outcome", records.outcome(order(intent=number, status=200, outcome="broker", generation=3)))
    trail.put("intent", records.intent(order(request_id="o2", account="***999")))
    trail.put("call", records.call(order(request_id="=1+1", client="other", status=403, outcome="halted")))
    trail.put("gap", members({"since": 1.0, "lost": 3, "reason": "No space left on device"}))
    trail.put("strangers", members({"count": 7}))
    trail.put("retired", members({"until": 0, "last": "", "files": []}))
    await Acts(trail).record("halt", mount="questrade", reason="lunch\x1b[2J")
    for kind, text in more:
        trail.put(kind, text)
    await custody.close()
