"""What clients of one socket listen to: the broker is asked for the union, and each client has its own set."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from proxy.outbound import Lost
from proxy.streams.alpaca.changes import MOST, Changes
from proxy.streams.alpaca.guest import Guest
from proxy.streams.alpaca.messages import Change, Wanted
from tests.callers import eventually
from tests.streams.databroker import QUICK, Line, Message, Session, house, trade


async def test_the_broker_is_asked_for_the_union() -> None:
    """Only for what nobody has yet, and each client is told its own whole set in the broker's form."""
    async with house() as at:
        first, second = await at.enter(), await at.enter(binary=False)
        assert ["AAPL"] == (await first.subscribe(trades=["AAPL"]))["trades"]
        assert {
            "T": "subscription", "trades": ["AAPL"], "quotes": ["AAPL"], "bars": [], "news": [],
            "corrections": ["AAPL"], "cancelErrors": ["AAPL"],
        } == await second.subscribe(trades=["AAPL"], quotes=["AAPL"])  # fmt: skip
        third = await at.enter()
        confirmed = await third.subscribe(trades=["AAPL"])

        assert (["AAPL"], []) == (confirmed["trades"], confirmed["quotes"])
        assert [
            {"action": "subscribe", "trades": ["AAPL"]},
            {"action": "subscribe", "quotes": ["AAPL"]},
        ] == at.broker.last.asked


async def test_what_nobody_listens_to_any_more_is_unsubscribed() -> None:
    """By an unsubscribe or by leaving; the broker keeps what somebody else has."""
    async with house() as at:
        first, second = await at.enter(trades=["AAPL", "MSFT"]), await at.enter(trades=["AAPL"], bars=["*"])
        assert ["AAPL"] == (await first.unsubscribe(trades=["MSFT", "NONE"]))["trades"]
        await second.ws.close()
        async for _ in eventually(5):
            if not at.broker.last.subscribed["bars"]:
                break

        assert [["AAPL"], []] == [list(at.broker.last.subscribed[channel]) for channel in ("trades", "bars")]
        assert [] == (await first.unsubscribe(trades=["AAPL"]))["trades"]
        await at.broker.last.send(trade(), trade("MSFT"))
        with pytest.raises(TimeoutError):
            await first.frame(0.1)


async def test_a_set_that_is_empty_has_the_brokers_form_too() -> None:
    """Asked before anybody has subscribed, the broker says what an empty set looks like."""
    async with house() as at:
        first, second = await at.enter(), await at.enter(binary=False)
        assert [] == (await first.unsubscribe(trades=["AAPL"]))["quotes"]
        assert [] == (await second.subscribe())["quotes"]
        assert [{"action": "unsubscribe"}] == at.broker.last.asked

        only = await at.enter(feed="sip")
        assert [] == (await only.subscribe(trades=[]))["trades"]


async def test_a_refused_subscription_is_the_askers_alone() -> None:
    """It gets the broker's words; its own set and the others' stay as they were."""
    async with house() as at:
        asker, other = await at.enter(trades=["AAPL"]), await at.enter(trades=["MSFT"])
        for code in (400, 405, 409, 410, 413):

            async def refuse(session: Session, _asked: Message, code: int = code) -> None:
                await session.error(code)

            at.broker.answer = refuse
            assert {"T": "error", "code": code, "msg": f"said {code}"} == await asker.subscribe(trades=["XX"])
        at.broker.answer = Session.change
        assert ["AAPL", "TSLA"] == (await asker.subscribe(trades=["TSLA"]))["trades"]
        await at.broker.last.send(trade("XX"), trade("MSFT"), trade("TSLA"))

        assert [[trade("TSLA")], [trade("MSFT")]] == [await asker.frame(), await other.frame()]
        assert [] == other.errors


async def test_clients_that_come_at_once_are_asked_for_together() -> None:
    """A few requests for twenty clients; one that the broker refuses is found out, and only that one hears of it."""
    async with house() as at:
        readers = [await at.enter() for _ in range(20)]
        asked = at.broker.last.asked

        async def refuse_one(session: Session, asked: Message) -> None:
            await asyncio.sleep(0.005)
            if "S7" in asked.get("trades", ()):
                await session.error(400)
            else:
                await session.change(asked)

        at.broker.answer = refuse_one
        for number, reader in enumerate(readers):
            if number != 7:
                await reader.say({"action": "subscribe", "trades": [f"S{number}"]})
        for number, reader in enumerate(readers):
            if number != 7:
                assert [f"S{number}"] == (await reader.until("subscription"))["trades"]
        assert len(asked) < 10

        for number, reader in enumerate(readers):
            await reader.say({"action": "subscribe", "quotes": ["X"], "trades": [f"S{number}"]})
        answers = [await reader.until("subscription", "error") for reader in readers]
        assert [7] == [number for number, answer in enumerate(answers) if answer["T"] == "error"]
        await at.broker.last.send(*(trade(f"S{number}") for number in range(20)), {"T": "q", "S": "X"})
        for number, reader in enumerate(readers):
            if number != 7:
                assert [trade(f"S{number}"), {"T": "q", "S": "X"}] == await reader.frame()


async def test_a_large_subscription_is_one_change() -> None:
    """It goes to the broker in parts, is confirmed once, and is undone when the broker refuses a part."""
    symbols = [f"SPXW240327P{at:08}" for at in range(2000)]
    async with house() as at:
        reader = await at.enter()
        assert symbols == (await reader.subscribe(quotes=symbols))["quotes"]
        assert 1 < len(at.broker.last.asked)
        assert symbols == list(at.broker.last.subscribed["quotes"])
        assert 1 == sum(message["T"] == "subscription" for message in reader.heard)

        at.broker.last.asked.clear()

        async def refuse_the_second(session: Session, asked: Message) -> None:
            if len(session.asked) == 2:
                await session.error(405)
            else:
                await session.change(asked)

        at.broker.answer = refuse_the_second
        assert 405 == (await reader.subscribe(bars=symbols))["code"]
        assert [] == (await reader.subscribe())["bars"]
        async for _ in eventually(5):
            if not at.broker.last.subscribed["bars"]:
                break
        assert {} == at.broker.last.subscribed["bars"]
        assert symbols == list(at.broker.last.subscribed["quotes"])


async def test_a_client_may_subscribe_to_a_lot_and_not_without_end() -> None:
    """Ten thousand are fine, though the confirmation is larger than a client's buffer; one more gets 405 from us."""
    async with house(pace=replace(QUICK, answer=5.0)) as at:
        reader = await at.enter()
        symbols = [f"SPXW240327P{at:010}" for at in range(MOST)]
        confirmed = await reader.subscribe(trades=symbols)
        assert [MOST] * 3 == [len(confirmed[channel]) for channel in ("trades", "corrections", "cancelErrors")]
        before = len(at.broker.last.asked)
        assert {"T": "error", "code": 405, "msg": "symbol limit exceeded"} == await reader.subscribe(trades=["ONE"])
        assert "subscription" == (await reader.subscribe(trades=symbols[:5]))["T"]
        assert before == len(at.broker.last.asked)
        await at.broker.last.send({"T": "t", "S": symbols[-1], "c": "x" * 400_000})
        assert 400_000 == len((await reader.one())["c"])


async def test_a_client_that_asks_faster_than_the_broker_answers_is_stopped() -> None:
    """A hundred changes may wait, then it is over for this client."""
    async with house() as at:

        async def never(_session: Session, _asked: Message) -> None:
            """No answer."""

        at.broker.answer = never
        reader = await at.enter()
        for number in range(101):
            await reader.say({"action": "subscribe", "trades": [f"S{number}"]})
        assert 1008 == await reader.closed()


async def test_a_subscription_counts_from_the_brokers_confirmation_on() -> None:
    """What follows it in the same write is delivered, and what stands before it is not."""
    async with house() as at:
        old = await at.enter(trades=["AAPL"])

        async def at_once(session: Session, asked: Message) -> None:
            await session.send(trade("MSFT", 1), trade("AAPL", 1))
            await session.change(asked)
            for number in range(2, 50):
                await session.send(trade("MSFT", number), trade("AAPL", number))

        at.broker.answer = at_once
        new = await at.enter()
        await new.subscribe(trades=["MSFT"])
        for reader, symbol, first in ((new, "MSFT", 2), (old, "AAPL", 1)):
            while len(reader.data) < 50 - first:
                await reader.frame()
            assert [trade(symbol, number) for number in range(first, 50)] == reader.data


def test_what_is_still_asked_outlives_the_socket() -> None:
    """When a socket is closed because nobody is left, somebody may just have come, and asked."""
    changes, gone, new = Changes(lambda: None), Guest(Line(), binary=True), Guest(Line(), binary=True)
    for guest in (gone, new):
        changes.join(guest)
        changes.ask(guest, Change(add=True, wanted={"trades": ["AAPL"]}))
    assert changes.leave(gone)
    assert not changes.leave(gone)
    changes.forget()

    assert [new] == [guest for guest, _ in changes._asked]
    assert {new: None} == changes.guests


async def test_a_change_that_is_confirmed_is_never_asked_again() -> None:
    """Also if the socket is lost in the moment of the confirmation: a second answer would be one too many."""

    class Fleeting:
        """A feed that confirms, and is gone."""

        def __init__(self) -> None:
            self.confirmed: dict[str, frozenset[str]] = {}

        def lacks(self, wanted: Wanted) -> Wanted:
            return wanted

        async def change(self, _change: Change, done: Callable[[], None]) -> None:
            done()
            raise Lost("gone")

    line, changes = Line(), Changes(lambda: None)
    guest = Guest(line, binary=True)
    changes.join(guest)
    guest.outstanding = 1
    changes.ask(guest, Change(True, {"trades": ["AAPL"]}))
    with pytest.raises(Lost):
        await changes.carry_out(Fleeting())  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await changes.carry_out(Fleeting())  # type: ignore[arg-type]
    assert (0, 1) == (guest.outstanding, len(line.frames))
