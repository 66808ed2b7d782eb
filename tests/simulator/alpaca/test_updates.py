"""What has happened to orders."""

from proxy.simulator.alpaca.account import Account
from proxy.simulator.alpaca.updates import Update, Updates
from tests.simulator.alpaca.support import LIMIT, MARKET
from tests.simulator.support import NOON


def test_updates_are_numbered_and_told() -> None:
    """From one on; a listener hears of those that come after it."""
    updates, heard = Updates(), list[Update]()
    updates.add("a", "new", {"id": "1"}, NOON)
    updates.listen(heard.append)
    updates.add("a", "fill", {"id": "1"}, NOON, {"qty": "2"})

    assert [(2, "fill")] == [(update.number, update.event) for update in heard]
    assert (None, "new", "fill", None) == tuple(found and found.event for found in map(updates.get, range(4)))
    assert {"event": "fill", "qty": "2", "timestamp": "2026-03-03T17:00:00.000000Z"}.items() <= heard[
        0
    ].document().items()


def test_only_the_newest_are_kept() -> None:
    """Numbers go on."""
    updates = Updates()
    for number in range(10_010):
        updates.add("a", str(number), {}, NOON)
    assert (10_010, None, "10", "10009") == (
        updates.newest,
        updates.get(10),
        *(found.event for found in (updates.get(11), updates.get(10_010)) if found),
    )


def test_what_an_account_tells_of_its_orders(account: Account) -> None:
    """Each change, with the order as it was then."""
    book, heard = account.book, list[Update]()
    book.updates.listen(heard.append)
    book.place(MARKET, NOON)
    order = book.place(LIMIT, NOON)
    newer = book.replace(str(order["id"]), {"qty": "3"}, NOON)
    book.cancel(str(newer["id"]), NOON)

    assert [("new", "new"), ("fill", "filled"), ("new", "new"), ("replaced", "replaced"), ("new", "new"),
            ("canceled", "canceled")] == [(update.event, update.order["status"]) for update in heard]  # fmt: skip
    assert {account.id} == {update.account_id for update in heard}
    assert {"price", "qty", "position_qty"} == heard[1].more.keys()
