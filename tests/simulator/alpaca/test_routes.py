"""Which path is which call."""

import pytest

from proxy.simulator.alpaca.answers import Refused
from proxy.simulator.alpaca.routes import Route, Routes
from tests.simulator.alpaca.support import call


def _routes(*paths: str) -> Routes:
    return Routes([("GET", Route(path, "", lambda _: None)) for path in paths])


@pytest.mark.parametrize(
    ("path", "template", "captures"),
    [
        ("/v2/assets/BTC%2FUSD", "/v2/assets/{symbol}", {"symbol": "BTC/USD"}),
        ("/v2/assets/all", "/v2/assets/all", {}),
        ("/v2/orders:by_id", "/v2/orders:by_id", {}),
        ("/v2/assets/all/more", "/v2/assets/{symbol}/more", {"symbol": "all"}),
    ],
)
def test_a_literal_goes_before_a_capture(path: str, template: str, captures: dict[str, str]) -> None:
    """Unless the rest then fails; a colon is a colon, an encoded slash part of its segment."""
    found = _routes("/v2/assets/{symbol}", "/v2/assets/all", "/v2/orders:by_id", "/v2/assets/{symbol}/more")
    route = found.find("GET", path)

    assert route is not None
    assert (template, captures) == (route[0].template, route[1])


@pytest.mark.parametrize(
    "path", ["/", "", "*", "/v2/assets", "/v2/assets/", "/v2//assets/a", "/v2/%61ssets/a", "v2/assets/a"]
)
def test_anything_else_is_no_call(path: str) -> None:
    """Nothing is cleaned: an empty segment or an encoded letter is another path."""
    assert None is _routes("/v2/assets/{symbol}").find("GET", path)


def test_a_method_is_part_of_the_row() -> None:
    """GET does not imply HEAD."""
    assert None is _routes("/v2/clock").find("HEAD", "/v2/clock")


def test_a_call_stands_there_once() -> None:
    """Two rows for the same call are a mistake, whatever their captures are called."""
    with pytest.raises(ValueError, match="twice"):
        _routes("/v2/{one}", "/v2/{two}")


def test_arguments_are_decoded() -> None:
    """Of a repeated name the last counts; lists take commas and repeats."""
    made = call("a=1&a=2&b=BTC%2FUSD&c=x,y&c=z&d=")

    assert {"a": "2", "b": "BTC/USD", "c": "z", "d": ""} == made.arguments
    assert ["x", "y", "z"] == made.listed("c")
    assert "BTC/USD" == made.needed("b")


@pytest.mark.parametrize("text", ["0", "11", "x", "-1", "1.5", "²", "9" * 5000], ids=lambda text: text[:4])
def test_a_count_has_bounds(text: str) -> None:
    """400 for anything that is no whole number within them."""
    with pytest.raises(Refused, match="40010000"):
        call(f"limit={text}").number("limit", 5, 10)


def test_a_count_has_a_default() -> None:
    """For a name that is missing or empty."""
    assert [5, 5, 10] == [call(query).number("limit", 5, 10) for query in ("", "limit=", "limit=10")]


def test_a_needed_argument_must_be_there() -> None:
    """400 if it is missing or empty."""
    for query in ("", "a="):
        with pytest.raises(Refused, match="40010000"):
            call(query).needed("a")


@pytest.mark.parametrize(
    "body", [b"{", b"[1]", b"5", b"\xff", b"[" * 100_000], ids=["open", "list", "number", "bytes", "deep"]
)
def test_a_body_must_be_an_object(body: bytes) -> None:
    """400; an empty one is an empty object."""
    with pytest.raises(Refused, match="40010000"):
        _ = call(body=body).document
    assert {} == call().document
