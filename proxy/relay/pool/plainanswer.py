"""Reads the answers that brokers nearly always give, at a fifth of what llhttp's callbacks cost. Pure.

An answer is plain if it is there in one piece: `HTTP/1.1`, header lines that can be read in one way only, one
`Content-Length`, and exactly that many bytes behind the head. Whatever is not plain is llhttp's to judge, from its
first byte on; what is taken here, llhttp reads in the same way (`tests/relay/pool/test_plainanswer.py` holds one
against the other). A line is looked at once: the next answer mostly has the same ones. Without this file each call
costs some 4 µs more.
"""

import re
from typing import TypeVar

LONGEST_HEAD = 8190  # bytes; no limit of ours can be passed in a head of this size, but for the number of lines
MOST_LINES = 100
_KEPT = 512  # lines that are known at a time; dates and counters pass through
_LONGEST_KEPT = 256  # bytes

_FIRST = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [!-~][ -~]*)?")
_LINE = re.compile(rb"([A-Za-z0-9-]+): ([!-~](?:[ -~]*[!-~])?)")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,8}")
# What says how an answer is framed, or whether its connection lasts.
_FRAMING = frozenset((b"transfer-encoding", b"connection", b"proxy-connection", b"upgrade", b"trailer"))
_BODILESS = (204, 304)
_UNKEPT = frozenset((b"set-cookie", b"set-cookie2"))  # what they hold is nobody's to remember

_Value = TypeVar("_Value")
Plain = tuple[int, list[tuple[bytes, bytes]], bytes]


class PlainAnswers:
    """Knows the lines that it has seen lately."""

    __slots__ = ("_firsts", "_lengths", "_lines")

    def __init__(self) -> None:
        self._firsts: dict[bytes, int] = {}
        self._lines: dict[bytes, tuple[bytes, bytes]] = {}
        self._lengths: dict[bytes, tuple[tuple[bytes, bytes], int]] = {}

    def read(self, data: bytes) -> Plain | None:
        """Status, headers and body of an answer to anything but HEAD, if `data` is a plain one and nothing else."""
        end = data.find(b"\r\n\r\n", 0, LONGEST_HEAD)
        if end < 0:
            return None
        first, *lines = data[:end].split(b"\r\n")
        status = self._firsts.get(first) or self._status(first)
        if not status or len(lines) > MOST_LINES:
            return None
        known, length, headers = self._lines, -1, []
        for line in lines:
            pair = known.get(line)
            if pair is None:
                found = self._lengths.get(line) or self._look(line)
                if found is None:
                    return None
                pair, size = found
                if size >= 0:
                    if length >= 0:
                        return None
                    length = size
            headers.append(pair)
        end += 4
        if length < 0 or length != len(data) - end:
            return None
        return status, headers, data[end:]

    def _status(self, line: bytes) -> int:
        """Of a first line; 0 if it is not plain."""
        match = _FIRST.fullmatch(line)
        status = int(match[1]) if match is not None else 0
        if status in _BODILESS:
            return 0
        if len(line) <= _LONGEST_KEPT:
            _keep(self._firsts, line, status)
        return status

    def _look(self, line: bytes) -> tuple[tuple[bytes, bytes], int] | None:
        """Name and value of a line, and the length that it tells, else -1; None if it is not plain."""
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        pair = match[1], match[2]
        name = pair[0].lower()
        if name == b"content-length":
            if not _LENGTH.fullmatch(pair[1]):
                return None
            found = pair, int(pair[1])
            _keep(self._lengths, line, found)
            return found
        if name in _FRAMING and (name != b"connection" or pair[1].lower() != b"keep-alive"):
            return None
        if len(line) <= _LONGEST_KEPT and name not in _UNKEPT:
            _keep(self._lines, line, pair)
        return pair, -1


def _keep(kept: dict[bytes, _Value], line: bytes, value: _Value) -> None:
    if len(kept) >= _KEPT:
        kept.clear()
    kept[line] = value
