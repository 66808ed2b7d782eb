"""How errors are written."""

import json

import pytest

from proxy.simulator.alpaca import answers
from proxy.simulator.alpaca.answers import Refused, encoded, missing, unprocessable


@pytest.mark.parametrize(
    ("refused", "status", "code"),
    [(missing("order"), 404, 40410000), (unprocessable("no"), 422, 42210001), (Refused(40310000, "no"), 403, 40310000)],
    ids=["missing", "unprocessable", "forbidden"],
)
def test_the_first_three_digits_of_a_code_are_the_status(refused: Refused, status: int, code: int) -> None:
    """In status line and body."""
    answer = refused.answer()

    assert (status, code) == (answer.status, json.loads(answer.body)["code"])


def test_an_error_may_tell_more() -> None:
    """Members besides code and message, as a refusal for buying power has them."""
    body = json.loads(Refused(40310000, "insufficient buying power", buying_power="1").answer().body)

    assert {"code": 40310000, "message": "insufficient buying power", "buying_power": "1"} == body


def test_the_gateway_writes_no_code() -> None:
    """A message alone, as users saw it."""
    assert {"message": "unauthorized."} == json.loads(answers.GATEWAY_UNAUTHORIZED.body)
    assert {"message": "forbidden."} == json.loads(answers.GATEWAY_FORBIDDEN.body)


def test_json_has_no_blanks() -> None:
    """Compact, whatever it holds."""
    assert b'{"a":[1,null]}' == encoded({"a": [1, None]})
