"""What is owned at the simulated Tradier."""

from typing import Any

import pytest

from proxy.simulator.tradier import account
from proxy.simulator.tradier.options import Options
from tests.simulator.tradier.support import ACCOUNT, App


@pytest.mark.parametrize(("count", "kind"), [(0, str), (1, dict), (2, list)])
def test_positions_come_in_three_shapes(count: int, kind: type) -> None:
    """The string `null`, an object, a list."""
    found: Any = account.positions(count)["positions"]

    assert kind is type(found if count == 0 else found["position"])


async def test_how_many_positions_there_are_is_an_option(app: App) -> None:
    """It can be turned while the simulator runs."""
    app.options.positions = 0

    assert {"positions": "null"} == (await app.get(f"{ACCOUNT}/positions")).document
    assert 2 == Options().positions


def test_history_and_gains_come_in_pages() -> None:
    """A page after the last is the string `null`."""
    first: Any = account.history(1, 2)["history"]

    assert 2 == len(first["event"])
    assert "ach" == account.history(2, 2)["history"]["event"]["type"]  # type: ignore[index]
    assert {"gainloss": "null"} == account.gain_loss(9, 25)


def test_balances_and_profile_are_of_one_account() -> None:
    """The number of the documented samples."""
    assert "VA000001" == account.NUMBER == account.balances()["balances"]["account_number"]  # type: ignore[index]
    assert {"accounts": {"account": {"account_number": "VA000001", "x": 1}}} == account.by_user({"x": 1})
