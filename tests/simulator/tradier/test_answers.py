"""How Tradier writes."""

import json

import pytest

from proxy.simulator.tradier.answers import NULL, Rejected, fault, rendered, several


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], {"orders": "null"}),
        ([1], {"orders": {"order": 1}}),
        ([1, 2], {"orders": {"order": [1, 2]}}),
    ],
)
def test_a_list_depends_on_how_much_is_in_it(items: list[object], expected: object) -> None:
    """A string, an object, or a list (documented samples)."""
    assert expected == several("orders", "order", items)


def test_xml_repeats_elements_and_leaves_none_empty() -> None:
    """Markup in a text is escaped, booleans are in lower case."""
    document = {"quotes": {"quote": [{"symbol": "A&B", "close": None}, {"symbol": "C", "fast": True}]}}
    answer = rendered(document, None)

    assert "application/xml;charset=UTF-8" == answer.content_type
    assert (
        b'<?xml version="1.0" encoding="UTF-8"?><quotes><quote><symbol>A&amp;B</symbol><close/></quote>'
        b"<quote><symbol>C</symbol><fast>true</fast></quote></quotes>"
    ) == answer.body


def test_a_list_at_the_top_is_xml_too() -> None:
    """As the fundamentals have it."""
    assert b"<items><item><request>F</request></item></items>" in rendered([{"request": "F"}], None).body


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        (None, False), ("*/*", False), ("application/*", False), ("text/html", False), ("application/json", True),
        ("APPLICATION/JSON", True), ("application/json, text/plain, */*", True),
    ],
)  # fmt: skip
def test_json_must_be_named(accept: str | None, is_json: bool) -> None:
    """XML is the default (documented)."""
    assert is_json == rendered({"a": NULL}, accept).content_type.startswith("application/json")


def test_a_fault_has_apigee_s_form() -> None:
    """Text and code, nothing else."""
    answer = fault(401, "Invalid Access Token", "keymanagement.service.invalid_access_token")

    assert 401 == answer.status
    assert {
        "fault": {
            "faultstring": "Invalid Access Token",
            "detail": {"errorcode": "keymanagement.service.invalid_access_token"},
        }
    } == json.loads(answer.body)


def test_a_rejection_has_a_list_of_errors() -> None:
    """As in the documented sample."""
    assert {"errors": {"error": ["no"]}} == Rejected("no").document
