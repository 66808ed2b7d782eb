"""Positions of values in a JSON text: every cut is the text itself."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.streams.questrade.rawjson import Unreadable, items, members

TEXT = ' {"a" : 1.50 , "b\\u0041":[ {"x":1e3},2 ,"," ], "c":{"a":[]},"é":null}\n'


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.text(max_size=5), VALUE, max_size=5), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_whatever_is_written_is_found_where_it_stands(
    document: dict[str, object], indent: int, ascii_only: bool
) -> None:
    """Each cut is a value of its own, and what is between the cuts holds none."""
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    found = {part.name: json.loads(text[part.start : part.end]) for part in members(text)}
    assert document == found == {part.name: part.value for part in members(text)}


def test_members_are_cut_out_as_they_are_written() -> None:
    """Numbers keep their zeros, names are decoded, and spaces belong to nobody."""
    cut = [(part.name, TEXT[part.start : part.end]) for part in members(TEXT)]
    assert [("a", "1.50"), ("bA", '[ {"x":1e3},2 ,"," ]'), ("c", '{"a":[]}'), ("é", "null")] == cut


def test_items_are_cut_out_as_they_are_written() -> None:
    """Commas inside of texts part nothing."""
    (place,) = (part.start for part in members(TEXT) if part.name == "bA")
    assert ['{"x":1e3}', "2", '","'] == [TEXT[part.start : part.end] for part in items(TEXT, place)]


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "1", "{", "}", "{}{}", "{} x", '{"a"}', '{"a":}', '{"a":1,}', '{"a":1 "b":2}', "{1:2}", '{,"a":1}',
        '{"a":[1,]}', "{'a':1}", '{"a":tru}', '{"a":1', '{"a":01}', "\ufeff{}", '{"a":' + "[" * 100_000 + "}",
    ],
    ids=lambda text: text[:16] or "empty",
)  # fmt: skip
def test_what_is_no_object_is_unreadable(text: str) -> None:
    """Whatever Python's own reader refuses, and what is no object, and what would nest for ever."""
    with pytest.raises(Unreadable):
        list(members(text))


@pytest.mark.parametrize(
    "text", ["", "{}", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]"], ids=lambda text: text or "empty"
)
def test_what_is_no_list_is_unreadable(text: str) -> None:
    """A list that breaks off, or is none."""
    with pytest.raises(Unreadable):
        list(items(text, 0))


@pytest.mark.parametrize("text", ["{}", " {\n} ", '{"a":{}}', '{"a":[],"a":2}', json.dumps({"q": ["\\", '"', "]"]})])
def test_whatever_python_reads_as_an_object_is_read(text: str) -> None:
    """The same members with the same values, twins included."""
    assert json.loads(text) == {part.name: part.value for part in members(text)}
