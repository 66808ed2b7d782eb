from time import process_time

import pytest

from proxy.gate.query import UNREADABLE, exact_values, fold, loose_names, overrides_method, spells


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (None, []),
        (b"", []),
        (b"stream=true", [b"true"]),
        (b"stream", [b""]),
        (b"a=1&stream=true&b=2", [b"true"]),
        (b"stream=true&stream=false", [b"true", b"false"]),
        (b"stream=a=b", [b"a=b"]),
        (b"Stream=true", []),
        (b"%73tream=true", []),
        (b"a=1;stream=true", []),
        (b"xstream=true", []),
    ],
)
def test_only_the_exact_spelling_gives_a_value(query: bytes | None, values: list[bytes]) -> None:
    """The exact reading splits at `&` alone and compares bytes."""
    assert values == exact_values(query, "stream")


SPELLINGS = [
    b"stream=true", b"STREAM=true", b"Stream", b"%73tream=1", b"%2573tream=1", b"%252573tream=1", b"%25%37%33tream=1",
    b"a=1;stream=true", b"a=1%26stream=true", b"a=1%3Bstream=true", b"stream%3Dtrue", b"stream[]=1",
    b"stream%5B0%5D=1",
    b"+stream=1", b"%20stream=1", b"stream%00=1", b"stream%20=1", b"%u0073tream=1", b"?stream=1", b"%0Astream=1",
    b"%EF%BD%93tream=1", b"%C5%BFtream=1", b"strea%E2%80%8Bm=1",
    b"stream%00x=1", b"x%00stream=1", b"stream%2500x=1",
    b"[stream]=1", b"%5Bstream%5D=1", b"!stream=1", b"model.stream=1", b"a[stream]=1", b"stream.x=1", b"s%tream=1",
    b"%stream=1", b"stream:int=1",
]  # fmt: skip


@pytest.mark.parametrize("query", SPELLINGS)
def test_the_generous_reading_finds_every_spelling(query: bytes) -> None:
    """Whatever some server could read as `stream` is counted as `stream`."""
    assert 1 == loose_names(query).count("stream")


@pytest.mark.parametrize(
    "query",
    [None, b"", b"ids=1,2", b"upstream=1", b"a=stream", b"[upstream]=1", b"stream-x=1", b"prefix=AT%26T", b"streams=1"],
)
def test_the_generous_reading_invents_nothing(query: bytes | None) -> None:
    """Names and values that merely resemble `stream` are left alone."""
    assert "stream" not in loose_names(query)


def test_an_overlong_encoding_is_marked_as_unreadable() -> None:
    """Bytes that are no UTF-8 leave a mark in the name, so that nobody takes it for a harmless one."""
    assert any(UNREADABLE in name for name in loose_names(b"%C1%B3tream=1"))


OVERRIDES = [
    b"_method=DELETE", b"_METHOD=DELETE", b"a=1&_method=PUT", b"a=1;_method=PUT", b"%5Fmethod=DELETE", b"%5fMethod=x",
    b"%255Fmethod=DELETE", b"x-http-method-override=DELETE", b"X-HTTP-Method-Override=DELETE", b"x_http_method=PUT",
    b"X-HTTP-Method=PUT", b"x%2Dhttp%2Dmethod=PUT", b"_method[]=PUT", b"a=1%26_method=PUT", b"_method",
    b"+_method=PUT",
    b"X-Method-Override=PUT", b"%C1%9Fmethod=DELETE",
    b"httpMethod=PUT", b"_http_method=PUT", b"$httpMethod=PUT", b"http_method_override=PUT", b"methodOverride=PUT",
    b"xHttpMethod=PUT", b"X.HTTP.Method.Override=PUT", b"xMethodOverride=PUT", b"$method=PUT", b".method=PUT",
    b"-method=PUT",
    b"_method%00x=PUT", b"x%00_method=PUT",
    b"[_method]=DELETE", b"%5B_method%5D=DELETE", b"!_method=PUT", b"model._method=PUT", b"_m%ethod=DELETE",
]  # fmt: skip


@pytest.mark.parametrize("query", OVERRIDES)
def test_a_method_override_is_seen_in_any_spelling(query: bytes) -> None:
    """No framework behind us can be talked into another method."""
    assert overrides_method(query)


@pytest.mark.parametrize(
    "query",
    [
        None,
        b"",
        b"method=x",
        b"a=1&method=%20",
        b"method%00=x",
        b"a.method=x",
        b"payment_method=x",
        b"override=x",
        b"startTime=2026-01-01T00%3A00%3A00%2B00%3A00",
        b"a=_method",
        b"False=False",
        b"%zz=1",
    ],
)
def test_other_queries_override_nothing(query: bytes | None) -> None:
    """Names that only resemble an override, and junk that SDKs send, pass."""
    assert not overrides_method(query)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (None, 0), (b"", 0), (b"api_key=1", 1), (b"a=1&api_key=1&b=2", 1), (b"api_key=1&api_key=2", 2),
        (b"api-key=1&API.KEY=2&api+key=3", 3), (b"%C1%A1pi_key=1", 1), (b"key=1&api=2&xapi_key=3", 0),
    ],
)  # fmt: skip
def test_a_parameter_is_counted_in_all_of_its_spellings(query: bytes | None, count: int) -> None:
    """Separators tell no names apart, and a name that cannot be read could be any."""
    assert count == spells(query, "api_key")


def test_a_deeply_nested_encoding_is_read_without_many_rounds() -> None:
    """`%25252525…` costs one pass, so a long one cannot be used to burn time."""
    assert ["_method"] == loose_names(b"%" + b"25" * 2000 + b"5Fmethod=1")


@pytest.mark.parametrize("name", ["%5fmethod", "%61"])
@pytest.mark.parametrize("rounds", [1, 2, 7, 8, 9, 12])
def test_what_is_nested_deeply_cannot_be_read(rounds: int, name: str) -> None:
    """Each digit of an escape may be an escape again: seven times that is undone, and any more is refused."""
    text = name
    for _ in range(rounds - 1):
        text = "".join(f"%{ord(char):x}" if char in "0123456789abcdef" else char for char in text)
    assert overrides_method(f"{text}=PUT".encode()) == (rounds > 7 or name == "%5fmethod")


def test_a_long_run_of_combining_marks_is_read_in_linear_time() -> None:
    """Marks in the wrong order are not sorted: that would take minutes for a body of this size."""
    began = process_time()
    assert fold("\u0301\u0316" * 100_000)
    assert process_time() - began < 2
