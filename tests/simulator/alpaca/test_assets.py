"""What is traded."""

import pytest

from proxy.simulator.alpaca import assets
from proxy.simulator.alpaca.answers import Refused
from tests.simulator.support import NOON, fields


@pytest.mark.parametrize("name", ["BTC/USD", "BTCUSD", assets.identifier("BTC/USD")])
def test_a_crypto_pair_is_found_by_every_name(name: str) -> None:
    """With its slash, without it, and by id."""
    assert "BTC/USD" == assets.find(name, NOON).symbol


def test_an_asset_has_every_documented_field() -> None:
    """Crypto has sizes besides."""
    names = fields("id class exchange symbol name status tradable marginable shortable easy_to_borrow fractionable")

    assert names <= set(assets.find("AAPL", NOON).record())
    assert "min_order_size" in assets.find("ETH/USD", NOON).record()


def test_lists_are_of_one_kind() -> None:
    """Stocks if nothing is asked for, as live; other filters narrow them down."""
    assert "BTC/USD" not in [row["symbol"] for row in assets.listed()]
    assert ["BTC/USD", "ETH/USD"] == [row["symbol"] for row in assets.listed("crypto")]
    assert ["SPY"] == [row["symbol"] for row in assets.listed("us_equity", "active", "ARCA")]
    assert [] == assets.listed("us_equity", "inactive")


def test_unknown_names_are_not_found() -> None:
    """As a symbol and as an id."""
    for name in ("NOPE", assets.identifier("NOPE"), ""):
        with pytest.raises(Refused, match="40410000"):
            assets.find(name, NOON)


def test_options_expire_on_a_third_friday() -> None:
    """Ten strikes of each underlying, in the OCC's form."""
    every = assets.contracts(NOON)

    assert 20 == len(every)
    assert {"2026-05-15"} == {each.expires.isoformat() for each in every}
    assert "AAPL260515C00220000" == every[0].symbol
    assert "AAPL May 15 2026 220 Call" == every[0].name


def test_an_option_is_found_by_symbol_and_id_and_can_be_ordered() -> None:
    """Its price holds what it is worth today."""
    option = assets.contract("AAPL260515C00220000", NOON)

    assert option == assets.contract(str(option.record()["id"]), NOON)
    assert ("us_option", 14.9) == (assets.find(option.symbol, NOON).kind, option.price)


def test_ids_are_the_same_in_every_run() -> None:
    """A test may know them."""
    assert assets.identifier("AAPL") == assets.find("AAPL", NOON).id
