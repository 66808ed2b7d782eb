"""The port in an answer: found once, replaced in place, and withheld where a client could read another."""

import pytest

from proxy.streams.questrade.rawjson import Unreadable
from proxy.streams.questrade.streamport import Found, find, replaced


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"streamPort":8080}', b'{"streamPort":40001}'),
        (b'{ "streamPort" : 8237 ,"quotes":[{"p":1.10}]}\n', b'{ "streamPort" : 40001 ,"quotes":[{"p":1.10}]}\n'),
        ('{"é":"8237","streamPort":8237}'.encode(), '{"é":"8237","streamPort":40001}'.encode()),
        (b'{"stream\\u0050ort":65535}', b'{"stream\\u0050ort":40001}'),
        (b'{"a":{"b":[8080]},"streamPort":1024}', b'{"a":{"b":[8080]},"streamPort":40001}'),
    ],
)
def test_the_number_alone_is_replaced(body: bytes, expected: bytes) -> None:
    """Everything else stays byte for byte."""
    found = find(body)
    assert isinstance(found, Found)
    assert expected == replaced(body, found, 40001)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<html>", b'{"code":1017,"message":"no"}', b"\xff", b'"streamP"'])
def test_what_speaks_of_no_port_passes(body: bytes) -> None:
    """An error with status 200, a maintenance page: the broker's own words."""
    assert find(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"streamPort":80}', b'{"streamPort":1023}', b'{"streamPort":65536}', b'{"streamPort":"8080"}',
        b'{"streamPort":8080.0}', b'{"streamPort":8.08e3}', b'{"streamPort":null}', b'{"streamPort":true}',
        b'{"streamPort":-8080}', b'{"streamPort":8080,"streamPort":8081}', b'{"streamPort":8080,"STREAMPORT":8081}',
        b'{"streamport":8080}', b'[{"streamPort":8080}]', b'{"streamPort":8080', b'"streamPort":8080',
        b'{"answer":{"streamPort":80}}', b'{"streamPort":8080,"quotes":[{"streamport":80}]}',
        b'{"x":' + b"[" * 500 + b'{"streamPort":80}' + b"]" * 500 + b"}",
        b'{"streamPort":8080}{}', b'\xff{"STREAMPORT":8080}', b'{"streamPort":' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)  # fmt: skip
def test_what_could_be_read_otherwise_is_withheld(body: bytes) -> None:
    """A port that is out of bounds, stands there twice, or where only some readers would find it."""
    with pytest.raises(Unreadable):
        find(body)
