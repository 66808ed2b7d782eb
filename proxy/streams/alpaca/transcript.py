"""What a MessagePack message of Alpaca's says, in JSON, as Alpaca's own JSON frames write it. Pure.

Their servers are written in Go: a time is RFC 3339 with as many of nine decimals as it needs, a float is the shortest
text that reads back the same and has no `.0` (`"h":136`; docs.alpaca.markets/docs/streaming-market-data, "Example").
"""

import base64
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring as _quoted  # in C; characters beyond ASCII stay as they are

import msgpack  # type: ignore[import-untyped]  # there are no stubs

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - written with a Z below
_EXACT = 1e21  # beyond it Go writes an exponent
_NULL = "null"


def as_json(value: object) -> str:
    """`value`, as msgpack unpacks it, in JSON without white space.

    What JSON has no word for: NaN, infinity, a time outside of the years 1 to 9999 and an unknown extension are null;
    bytes are base64.
    """
    write = _WRITERS.get(type(value))
    return _NULL if write is None else write(value)


def _list(items: Iterable[object]) -> str:
    return f"[{','.join([as_json(item) for item in items])}]"


def _map(items: Mapping[object, object]) -> str:
    return "{" + ",".join([f"{_key(key)}:{as_json(item)}" for key, item in items.items()]) + "}"


def _key(key: object) -> str:
    return _quoted(key) if isinstance(key, str) else _quoted(as_json(key).strip('"'))


def _float(number: float) -> str:
    if not math.isfinite(number):
        return _NULL
    if number.is_integer() and abs(number) < _EXACT:
        return "-0" if number == 0 and math.copysign(1, number) < 0 else str(int(number))
    return repr(number)


def _time(moment: msgpack.Timestamp) -> str:
    second = _second(moment.seconds)
    if second is None:
        return _NULL
    decimals = f".{moment.nanoseconds:09}".rstrip("0").rstrip(".")
    return f'"{second}{decimals}Z"'


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str | None:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return None


def _bytes(value: bytes) -> str:
    return f'"{base64.b64encode(value).decode("ascii")}"'


_WRITERS: dict[type, Callable[..., str]] = {
    str: _quoted,
    float: _float,
    int: str,
    bool: lambda value: "true" if value else "false",
    msgpack.Timestamp: _time,
    list: _list,
    dict: _map,
    bytes: _bytes,
}
