"""Questions to custody: answered, refused, or asked again of the next one."""

import asyncio
from typing import Any

from proxy.errors import Refusal
from proxy.workers.line import Line
from proxy.workers.link import Link, Message, pair
from proxy.workers.parcels import refusal_told
from tests.workers.house import until


class Desk:
    """Custody's end: what was asked, in order."""

    def __init__(self, line: Line) -> None:
        ours, theirs = pair()
        self.heard: list[Message] = []
        self.link = Link(theirs, self.heard.append)
        self.link.open()
        self.near = Link(ours, lambda message: line.replied(message.data), line.lost)
        self.near.open()
        line.joined(self.near)

    async def question(self, count: int = 1) -> dict[str, Any]:
        await until(lambda: len(self.heard) >= count)
        return dict(self.heard[count - 1].data)

    def close(self) -> None:
        self.link.close()
        self.near.close()


async def test_a_question_gets_its_answer_or_a_refusal() -> None:
    """Each its own, in whatever order they come."""
    line = Line()
    desk = Desk(line)
    questions = asyncio.gather(
        line.ask({"what": "take", "grant": "a"}, "grant a"),
        line.ask({"what": "take", "grant": "b"}, "grant b"),
        return_exceptions=True,
    )
    await desk.question(2)
    first, second = (message.data["id"] for message in desk.heard)
    desk.link.say("reply", {"id": second, "newer": False})
    desk.link.say("reply", {"id": first, "refusal": refusal_told(Refusal("login-needed", "grant a: no"))})
    one, two = await questions
    assert isinstance(one, Refusal)
    assert one.kind.name == "login-needed"
    assert isinstance(two, dict)
    assert two["newer"] is False
    desk.close()


async def test_the_next_custody_is_asked_what_the_last_one_has_not_answered() -> None:
    """A call waits over a restart; what was answered is not asked again."""
    line = Line()
    desk = Desk(line)
    answered: list[object] = []
    line.request({"what": "renew", "grant": "a", "stale": 1}, answered.append)
    line.request({"what": "take", "grant": "b"}, answered.append)
    await desk.question(2)
    desk.link.say("reply", {"id": 1, "newer": True})
    await until(lambda: answered)
    desk.close()
    line.lost()
    assert not line.up
    assert not line.say("held")
    after = Desk(line)
    assert (await after.question())["grant"] == "b"
    assert line.up
    after.close()
