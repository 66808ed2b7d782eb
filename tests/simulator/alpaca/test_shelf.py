"""Things that are made, listed, changed and deleted."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from proxy.simulator.alpaca.answers import Refused, Reply
from proxy.simulator.alpaca.routes import Call
from proxy.simulator.alpaca.shelf import Shelf
from tests.simulator.alpaca.support import MISSING, call
from tests.simulator.support import NOON

ONE = ("GET", "PATCH", "DELETE")


def _calls(shelf: Shelf) -> dict[str, Callable[[Call], Any]]:
    rows = shelf.rows("GET", "POST", one=ONE)
    return {f"{method} {'one' if '{' in route.template else 'all'}": route.answer for method, route in rows}


def _sent(document: object, key: str | None = None, **captures: str) -> Call:
    headers = {} if key is None else {"idempotency-key": key}
    return Call("POST", captures, "", json.dumps(document).encode(), NOON, call().account, headers)


@pytest.fixture
def calls() -> dict[str, Callable[[Call], Any]]:
    return _calls(Shelf("/v1/things", "thing_id", lambda _, given: {"colour": "red", **given}))


def test_there_is_one_to_begin_with(calls: dict[str, Callable[[Call], Any]]) -> None:
    """So that a list is never empty."""
    assert ["red"] == [thing["colour"] for thing in calls["GET all"](call())]


def test_a_thing_goes_its_way(calls: dict[str, Callable[[Call], Any]]) -> None:
    """Made, read, changed, deleted, gone."""
    number = calls["POST all"](_sent({"colour": "blue"}))["id"]

    assert "blue" == calls["GET one"](call(thing_id=number))["colour"]
    assert "green" == calls["PATCH one"](_sent({"colour": "green"}, thing_id=number))["colour"]
    assert Reply(status=204) == calls["DELETE one"](call(thing_id=number))
    for name in ("GET one", "PATCH one", "DELETE one"):
        with pytest.raises(Refused, match="40410000"):
            calls[name](call(thing_id=number))


def test_the_same_idempotency_key_makes_one_thing(calls: dict[str, Callable[[Call], Any]]) -> None:
    """Another key, or none, makes another."""
    first, again, other = (calls["POST all"](_sent({}, key)) for key in ("a", "a", "b"))

    assert first == again
    assert first["id"] != other["id"]
    assert 3 == len(calls["GET all"](call()))


def test_lists_are_paged(calls: dict[str, Callable[[Call], Any]]) -> None:
    """By offset and limit; 400 for what is no number."""
    for _ in range(4):
        calls["POST all"](_sent({}))
    every = calls["GET all"](call())

    assert every[1:3] == calls["GET all"](call("offset=1&limit=2"))
    assert [] == calls["GET all"](call("offset=5"))
    with pytest.raises(Refused, match="40010000"):
        calls["GET all"](call("offset=x"))


def test_accounts_do_not_see_each_others_things() -> None:
    """Where the path holds one."""
    calls = _calls(Shelf("/v1/things", "thing_id", lambda _, given: given))
    number = calls["POST all"](_sent({}, account_id="a"))["id"]

    assert number == calls["GET one"](call(thing_id=number, account_id="a"))["id"]
    with pytest.raises(Refused, match="40410000"):
        calls["GET one"](call(thing_id=number, account_id="b"))
    with pytest.raises(Refused):
        calls["GET one"](call(thing_id=MISSING, account_id="a"))


def test_a_wrapped_list_stands_under_its_name() -> None:
    """With a token for the next page, which there never is."""
    found = _calls(Shelf("/v1/runs", "run_id", lambda _, given: given, wrapped="runs"))["GET all"](call())

    assert (["runs", "next_page_token"], None) == (list(found), found["next_page_token"])
