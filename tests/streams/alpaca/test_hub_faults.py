"""What a broker that misbehaves may not do to a hub: end others, cost renewals without end, or hide a gap."""

from tests.streams.alpaca.test_hub import is_gap, reopened
from tests.streams.databroker import Message, Session, good, house, token, trade


async def test_a_change_is_answered_once_though_the_socket_is_lost_with_its_confirmation() -> None:
    """Whoever is answered twice waits for nothing afterwards, and would never hear of a gap again."""
    async with house() as at:
        reader = await at.enter(trades=["AAPL"])

        async def confirms_and_goes(session: Session, _asked: Message) -> None:
            at.broker.answer = Session.change
            confirmed = {"T": "subscription", "trades": ["AAPL", "MSFT"]}
            await session.send(confirmed, {"T": "error", "code": 407, "msg": "slow client"})

        at.broker.answer = confirms_and_goes
        assert ["AAPL", "MSFT"] == (await reader.subscribe(trades=["MSFT"]))["trades"]
        assert is_gap(await reader.one())
        await reopened(at)
        at.broker.last.drop()
        assert is_gap(await reader.one())
        assert [{"trades": ["AAPL", "MSFT"]}] * 2 == [
            {channel: asked[channel] for channel in asked if channel != "action"}
            for session in at.broker.sessions[1:]
            for asked in session.asked
        ]


async def test_a_fresh_token_that_is_refused_at_once_is_not_renewed_for_ever() -> None:
    """A broker that greets and then says 401 would spend a renewal with every socket."""

    async def fickle(session: Session) -> None:
        await session.send({"T": "success", "msg": "connected"})
        await session.send({"T": "success", "msg": "authenticated"})
        await session.error(401)
        await session.serve()

    async with house(*[fickle] * 50) as at:
        reader = await at.connect()
        assert 4503 == await reader.closed()
        assert [token(1), token(2)] == [session.bearer for session in at.broker.sessions]


async def test_words_of_the_broker_that_are_odd_end_no_other_hub() -> None:
    """An error with a value that is nested too deeply for JSON: what it says passes, what is odd does not."""
    deep: object = 1
    for _ in range(500):
        deep = [deep]
    words = {"T": "error", "code": 409, "msg": "odd"}

    async def odd(session: Session) -> None:
        await session.send({**words, "x": deep})
        await session.serve()

    async with house(good, odd) as at:
        other = await at.enter(feed="sip", trades=["AAPL"])
        first = await at.connect(binary=False)
        await first.closed()
        assert [{**words, "x": []}] == first.errors
        assert ["AAPL", "MSFT"] == (await other.subscribe(trades=["MSFT"]))["trades"]


async def test_a_message_that_json_can_not_hold_is_a_gap_for_all() -> None:
    """Not the end of the hub, whenever it comes: here just before the broker's word that it closes."""
    deep: object = 1
    for _ in range(500):
        deep = [deep]
    async with house() as at:
        reader = await at.enter(binary=False, trades=["AAPL"])
        await at.broker.last.send(trade() | {"x": deep}, {"T": "error", "code": 407, "msg": "slow client"})
        assert is_gap(await reader.one())
        await at.broker.last.send(trade(number=2))
        assert [trade(number=2)] == await reader.frame()


async def test_no_gap_is_forgotten_while_a_client_waits_for_an_answer() -> None:
    """What else is to be said then does not take its place."""
    async with house() as at:
        reader = await at.enter(trades=["AAPL"])
        [hub] = at.hubs._hubs.values()

        async def drop(session: Session, _asked: Message) -> None:
            at.broker.answer = again
            session.drop()

        async def again(session: Session, asked: Message) -> None:
            if "MSFT" not in asked["trades"]:
                await session.change(asked)
                return
            at.broker.answer = Session.change
            [guest] = hub._guests
            guest.interrupt({"T": "error", "code": 500, "msg": "said 500"})
            await session.change(asked)

        at.broker.answer = drop
        await reader.subscribe(trades=["MSFT"])
        assert is_gap(await reader.one())
        assert "said 500" == (await reader.one())["msg"]
