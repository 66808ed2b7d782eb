import pytest

from proxy.errors import Refusal
from proxy.gate.bodies import (
    Number,
    bare,
    body_must_not_hold,
    body_must_not_override,
    fields,
    media,
    members,
    query_must_not_name,
    strict_object,
)

NAMES = ("stream", "mode")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"optionIds": [1, 2], "filters": [{"underlyingId": 27426, "expiryDate": "2027-01-20"}]}',
        b'{"filters": {"stream": true}}',
        b'{"upstream": true, "streams": 1, "a": "stream"}',
        b' \n{"a": "\\u0041"} ',
        b'{"a": [{"b": 1}, {"b": 1}]}',
    ],
)
def test_a_body_without_the_names_passes(body: bytes) -> None:
    """Only the top level counts, and equal names in different objects are no duplicates."""
    body_must_not_hold(body, NAMES)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"stream": true}', "`stream`"),
        (b'{"stream": false}', "`stream`"),
        (b'{"optionIds": [1], "mode": "WebSocket"}', "`mode`"),
        (b'{"Stream": true}', "`stream`"),
        (b'{"STREAM": true}', "`stream`"),
        (b'{"\\u0073tream": true}', "`stream`"),
        ('{"\u017ftream": true}'.encode(), "`stream`"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": 1, "A": 2}', "twice"),
        (b'{"optionIds": [], "stream": true, "stream": false}', "twice"),
        (b'{"filters": [{"b": 1, "\\u0062": 2}]}', "twice"),
        (b"[]", "not a JSON object"),
        (b"1", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"stream"', "not a JSON object"),
        (b"stream=true", "not strict JSON"),
        (b"{", "not strict JSON"),
        (b"{} {}", "not strict JSON"),
        (b"{}x", "not strict JSON"),
        (b"{'stream': true}", "not strict JSON"),
        (b'{"a": NaN}', "not strict JSON"),
        (b'{"a": Infinity}', "not strict JSON"),
        (b'{"a": 1,}', "not strict JSON"),
        (b'{"a": "\x00"}', "not strict JSON"),
        (b'\xef\xbb\xbf{"stream": true}', "not strict JSON"),
        ('{"stream": true}'.encode("utf-16"), "not strict JSON"),
        (b'{"a": "\xff"}', "not strict JSON"),
        (b"/* */ {}", "not strict JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not strict JSON"),
        (b'{"a": "x&stream=true&y"}', "as a form"),
        (b'{"a": "x;stream=true"}', "as a form"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not strict JSON"),
    ],
)
def test_a_name_or_a_doubt_is_refused(body: bytes, why: str) -> None:
    """A forbidden name in any letter case, a repeated member and everything but one strict object are refused."""
    with pytest.raises(Refusal, match="guard-denied") as caught:
        body_must_not_hold(body, NAMES)
    assert "guard-denied" == caught.value.kind.name
    assert why in caught.value.detail


def test_without_names_no_body_is_read() -> None:
    """A row that forbids nothing takes any bytes."""
    body_must_not_hold(b"\xff", ())


@pytest.mark.parametrize(
    "value",
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b'Application/JSON;charset="UTF-8"',
        b"text/plain; charset=UTF8",
        b"",
    ],
)
def test_utf_8_may_be_named_or_not(value: bytes) -> None:
    """What JSON is anyway."""
    body_must_not_hold(b"{}", ["stream"], [(b"Content-Type", value)])


@pytest.mark.parametrize(
    "value",
    [
        b"application/json; charset=utf-7",
        b"application/json; CharSet=utf-16",
        b"application/json; charset=IBM037",
        b"application/json; charset=utf-8; charset=utf-7",
        b'application/json; x="; charset=utf-7"',
    ],
)
def test_another_character_set_is_a_doubt(value: bytes) -> None:
    """The broker would read other letters out of the same bytes."""
    with pytest.raises(Refusal, match="character set"):
        body_must_not_hold(b"{}", ["stream"], [(b"content-type", value)])


@pytest.mark.parametrize("query", [None, b"", b"a=1", b"a=apikey", b"mapikeys=1", b"key=1", b"api=1"])
def test_a_query_without_our_parameter_passes(query: bytes | None) -> None:
    """Only names count, and whole ones."""
    query_must_not_name(query, "apikey")


@pytest.mark.parametrize(
    "query",
    [
        b"apikey=x", b"apikey", b"a=1&apikey=", b"APIKEY=x", b"%61pikey=x", b"%2561pikey=x", b"a=1;apikey=x",
        b"a%26apikey=x", b"apikey[]=x", b"api_key=x", b"api-key=x", b"api.key=x", b"api+key=x", b"+apikey=x",
        b"?apikey=x", b"%EF%BD%81pikey=x", b"apike%E2%80%8By=x", b"%C1%A1pikey=x", b"model.apikey=x", b"apikey:str=x",
    ],
)  # fmt: skip
def test_a_query_that_may_name_our_parameter_is_refused(query: bytes) -> None:
    """In whatever spelling some server would take it: the broker might take the client's value for ours."""
    with pytest.raises(Refusal) as caught:
        query_must_not_name(query, "apikey")
    assert "guard-denied" == caught.value.kind.name
    assert "`apikey`" in caught.value.detail
    assert caught.value.fix


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"Content-Type", b"application/json")], "json"),
        ([(b"content-type", b"Application/JSON ; charset=UTF-8")], "json"),
        ([(b"Content-Type", b"application/x-www-form-urlencoded")], "form"),
        ([(b"Content-Type", b"application/x-www-form-urlencoded; charset=utf8")], "form"),
        ([(b"Content-Type", b"application/json; charset=utf-16")], None),
        ([(b"Content-Type", b"application/json, text/plain")], None),
        ([(b"Content-Type", b"application/jsonp")], None),
        ([(b"Content-Type", b"~application/json")], None),
        ([(b"Accept", b"text/plain"), (b"Content-Type", b" application/json\t"), (b"X", b"y")], "json"),
        ([(b"Content-Type", b"multipart/form-data; boundary=x")], None),
        ([(b"Content-Type", b"application/json"), (b"Content-Type", b"application/json")], None),
        ([], None),
    ],
    ids=[
        "JSON", "case", "form", "charset", "UTF-16", "two values", "a longer word", "another word", "between others",
        "multipart", "twice", "none",
    ],
)  # fmt: skip
def test_a_body_is_what_its_one_content_type_says(headers: list[tuple[bytes, bytes]], expected: str | None) -> None:
    """JSON or a form in UTF-8; anything else is neither."""
    assert expected == media(headers)


def test_fields_are_decoded_once_and_in_order() -> None:
    """Plus is a space, escapes are UTF-8, brackets may be encoded, a name alone has an empty value."""
    raw = b"a=1+2&b%5B0%5d=%C3%A9&c&d=%2525&&e=x=y"
    found = [("a", "1 2"), ("b[0]", "é"), ("c", ""), ("d", "%25"), ("", ""), ("e", "x=y")]
    assert found == fields(raw)
    assert [("", "")] == fields(b"")


def test_members_are_found_at_any_depth() -> None:
    """In objects and lists, without a limit of their own."""
    deep: object = {"last": 1}
    for _ in range(5_000):
        deep = [{"x": deep}]
    assert {"x", "last"} == {name for name, _ in members(deep)}
    assert [] == list(members([1, "a", None]))


@pytest.mark.parametrize(("opening", "closing"), [(b'{"x":', b"}"), (b"[", b"]")], ids=["objects", "lists"])
def test_how_deep_a_body_may_go_is_our_own_rule(opening: bytes, closing: bytes) -> None:
    """The same on every Python: one reads a thousand levels, the other ten thousand."""
    for levels, fits in ((499, True), (500, False), (2_000, False), (30_000, False)):
        body = b'{"a":' + opening * levels + b"1" + closing * levels + b"}"
        if fits:
            assert {"a"} == strict_object(body).keys()
        else:
            with pytest.raises(Refusal, match="is not strict JSON"):
                strict_object(body)


def test_brackets_in_texts_and_side_by_side_are_not_deep() -> None:
    """Thousands of them are read; a text that never ends costs no more than its length."""
    body = b'{"a": [' + b", ".join([b'{"x": "[[{{\\"[["}'] * 2_000) + b"]}"
    assert 2_000 == len(strict_object(body)["a"])  # type: ignore[arg-type]
    with pytest.raises(Refusal, match="is not strict JSON"):
        strict_object(b'{"a": "' + b'\\"[' * 20_000)


def test_numbers_can_be_kept_as_they_were_written() -> None:
    """Nothing is rounded before somebody has looked."""
    found = strict_object(b'{"a": 1e400, "b": 0.10, "c": [-0], "d": "1"}', as_written=True)
    assert {"a": "1e400", "b": "0.10", "c": ["-0"], "d": "1"} == found
    assert [True, False] == [isinstance(found[name], Number) for name in ("a", "d")]


def test_a_name_is_bare_without_what_servers_look_past() -> None:
    """Case, `-`, `_`, `.` and spaces, and letters that only look otherwise."""
    assert {"limitprice"} == {bare(name) for name in ("limit_price", "Limit-Price", "limit.price ", "\uff2cimitPrice")}
    assert ["limit", "limit", "~limit~"] == [bare(name) for name in ("limit\0price", "\0limit", "~limit~")]


JSON, FORM = [(b"Content-Type", b"application/json")], [(b"Content-Type", b"application/x-www-form-urlencoded")]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (FORM, b"symbol=AAPL&_method=DELETE"), (FORM, b"%5Fmethod=DELETE"), (FORM, b"X-HTTP-Method-Override=PUT"),
        (FORM, b"%C1%9Fmethod=PUT"), ([], b"_method=DELETE"), ([(b"Content-Type", b"text/plain")], b"a=1;_method=PUT"),
        (JSON, b'{"a": 1, "_method": "DELETE"}'), (JSON, b'{"\\u005fmethod": "DELETE"}'), (JSON, b'{"_METHOD": ""}'),
        (JSON, b'{"xHttpMethodOverride": "PUT"}'), ([*JSON, *JSON], b"_method=PUT"), (FORM, b"_%6Dethod=PUT"),
        (JSON, b'{"_\\u006dethod": "PUT"}'), (FORM, b"_method=" + b"x" * (65_536 - 8)),
    ],
    ids=range(14),
)  # fmt: skip
def test_a_body_that_asks_for_another_method_is_refused(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """A field of a form, in any spelling, or a member of a JSON object at its top."""
    with pytest.raises(Refusal) as caught:
        body_must_not_override(body, headers)
    assert ("guard-denied", "unreadable") == (caught.value.kind.name, caught.value.rule)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (FORM, b""), (FORM, b"symbol=AAPL&duration=day"), (FORM, b"method=DELETE&a=%41"), (FORM, b"a=_method"),
        (JSON, b'{"method": "ach", "a": "_method", "b": {"_method": 1}}'), (JSON, b'["_method"]'), (JSON, b'{"_method'),
        (JSON, b'{"note": "100%"}'), (JSON, b"[" * 60_000 + b"%"), (FORM, b"_method=" + b"x" * (65_537 - 8)),
    ],
    ids=range(10),
)  # fmt: skip
def test_other_bodies_ask_for_no_method(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Words that only resemble one, members further down, what cannot be read, and uploads."""
    body_must_not_override(body, headers)
