"""The public scope tables, written down a second time, and the calls that are near one of their rows.

Nothing here asks the code of the gate what matches: a path is held against a plain regular expression.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from proxy.brokers import builtin
from proxy.errors import Refusal
from proxy.gate.scopes import Match, Row
from proxy.gate.target import parse

HERE = Path(__file__).parent
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")

_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ID = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_SYMBOL = "[A-Za-z0-9][A-Za-z0-9._-]{0,47}|[A-Za-z0-9]{1,16}%2F[A-Za-z0-9]{1,16}"
_ONE, _OTHER = "904837e3-3b76-47ec-b432-046db621571b", "B0B6DD9D-8B9B-48A9-BA46-B9D54906E415"
_SYMBOLS = ("AAPL", "BRK.B", "BTC%2FUSD", "AAPL240119C00100000", _ONE)
_UUIDS = (
    "account_id", "ach_relationship_id", "bank_id", "document_id", "id", "journal_id", "order_id", "portfolio_id",
    "run_id", "subscription_id", "tokenization_request_id", "transfer_id", "watchlist_id", "whitelisted_address_id",
)  # fmt: skip
_IDS = ("event_id", "instant_funding_id", "ledger_id", "locate_id", "settlement_id")
_SYMBOL_NAMES = ("symbol", "underlying_symbol", "symbol_or_asset_id", "symbol_or_contract_id", "symbol_or_id")

# For each broker's captures: the form, and values that fit. The first is the one that near misses start from.
CAPTURES: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "questrade": {
        "account": ("[0-9]{8}", ("26598145",)),
        "order": ("[0-9]{1,18}", ("11000042",)),
        "symbol": ("[0-9]{1,10}", ("38738",)),
    },
    "tradier": {
        "account": ("[A-Z0-9]{3,16}", ("VA000001", "6YA")),
        "order": ("[0-9]{1,18}", ("257459",)),
        "watchlist": (_ID, ("default", "my-list_2")),
        "symbol": (
            "[A-Za-z0-9][A-Za-z0-9.:-]{0,31}|[A-Za-z0-9]{1,10}%2F[A-Za-z0-9]{1,10}",
            ("AAPL", "BRK%2FB", "SPY140118C00195000"),
        ),
    },
    "alpaca": {
        **dict.fromkeys(_UUIDS, (_UUID, (_ONE, _OTHER))),
        **dict.fromkeys(_IDS, (_ID, ("01HZX3QJ8VJ8K5T4M2N1P0R7S6", "7"))),
        **dict.fromkeys(_SYMBOL_NAMES, (_SYMBOL, _SYMBOLS)),
        "client_id": (f"[0-9a-f]{{32}}|{_UUID}", ("7a3c52a910e1dc2abbb14da2b6b8e711", _ONE)),
        "offering_reference": ("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", ("ACME-2026.1",)),
        "token_id": ("[A-Za-z0-9][A-Za-z0-9_-]{0,127}", ("87586f14-c3f4-4912-b107-f75bc17ff87a",)),
        "activity_type": ("[A-Z_]{2,32}", ("FILL", "DIV")),
        "feed": ("sip|iex|delayed_sip|boats|overnight|test", ("iex", "delayed_sip", "test")),
        "loc": ("[a-z]{2,16}|[a-z]{2,16}-[0-9]{1,2}", ("us", "eu-1", "global")),
        "market": ("[A-Za-z0-9][A-Za-z0-9_-]{0,31}", ("NYSE",)),
        "market_type": ("stocks|crypto", ("crypto", "stocks")),
        "options_feed": ("opra|indicative", ("opra", "indicative")),
        "ticktype": ("trade|quote", ("trade", "quote")),
    },
}

# In place of a capture's value.
_CHANGED = ("abc", "1e3", "-1", "+1", "1.0", "0x1F", "*", "~", "9" * 19, "\xb2", "impact2", ".", "..", "x" * 129)


@dataclass(frozen=True)
class Table:
    """One API of one broker: the rows that bearerd has, and the lines of the committed table."""

    broker: str
    api: str
    rows: tuple[Row, ...]
    lines: tuple[dict[str, str], ...] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.broker}-{self.api}"

    def path(self, row: Row, which: int = 0) -> str:
        """The row's path with a value for each capture, the first or another one."""
        captures = CAPTURES[self.broker]
        return row.path.format(**{name: values[which % len(values)] for name, (_, values) in captures.items()})

    def decide(self, method: str, raw: str, mount: str | None = "mount") -> Match | str:
        """The match, or the name of the refusal."""
        try:
            target = parse(raw.encode("latin-1"), mount=mount)
        except Refusal as refusal:
            return refusal.kind.name
        found = builtin(self.broker).api(self.api).table.match(method, target)
        if isinstance(found, Match):
            return found
        return "ambiguous-target" if found.ambiguous else "scope-denied"

    @cached_property
    def _forms(self) -> dict[tuple[str, int], list[tuple[re.Pattern[str], str]]]:
        forms = defaultdict(list)
        for line in self.lines:
            text = re.sub(r"\{(\w+)\}", lambda name: f"(?:{CAPTURES[self.broker][name[1]][0]})", line["path"])
            key = (line["method"], line["path"].count("/"))
            forms[key].append((re.compile(text, re.ASCII), line["when"]))
        return forms

    def in_table(self, method: str, raw: str) -> bool:
        """Whether the committed table has this call."""
        path, _, query = raw.partition("?")
        near = self._forms.get((method, path.count("/")), ())
        return any(when in ("", query) and form.fullmatch(path) is not None for form, when in near)

    def near(self, row: Row) -> Iterator[tuple[str, str]]:
        """Calls that differ from the row's own in one respect, each once, and are no other row's."""
        seen = dict.fromkeys(_near(row, self.path(row)))
        return ((method, raw) for method, raw in seen if not self.in_table(method, raw))


@cache
def tables() -> tuple[Table, ...]:
    """Every API of every broker that comes with bearerd and has a committed table."""
    found = []
    for name in CAPTURES:
        lines = list(csv.DictReader((HERE / f"{name}_rows.csv").read_text(encoding="utf-8").splitlines()))
        for api in builtin(name).apis.values():
            own = tuple(line for line in lines if line["api"] == api.name)
            found.append(Table(name, api.name, api.table.rows, own))
    return tuple(found)


def table(broker: str, api: str) -> Table:
    return next(each for each in tables() if (broker, api) == (each.broker, each.api))


def query_of(row: Row) -> str:
    """What the query of the row's own call must hold."""
    fields = [*row.when_query, *((name, values[-1]) for name, values in row.enum)]
    return "&".join(f"{name}={value}" for name, value in fields)


def _near(row: Row, path: str) -> Iterator[tuple[str, str]]:
    query = query_of(row)
    asked = f"?{query}" if query else ""
    for method in (*METHODS, row.method.lower()):
        if method != row.method:
            yield method, path + asked
    version, _, rest = path[1:].partition("/")
    for other in (
        f"{path}/extra", f"/extra{path}", f"{path}x", f"{path}/", f"{path},1", f"{path}.json", f"/v9/{rest}",
        f"/{version.upper()}/{rest}", f"/{rest}", path.replace(":", "%3A") if ":" in path else f"{path}:by_name",
    ):  # fmt: skip
        yield row.method, other + asked
    for other in _segments_changed(row, path):
        yield row.method, other + asked
    for other in _queries_changed(row):
        yield row.method, f"{path}?{other}"


def _segments_changed(row: Row, path: str) -> Iterator[str]:
    segments = path[1:].split("/")
    for place, segment in enumerate(segments):
        yield "/" + "/".join([*segments[:place], *segments[place + 1 :]])
        if row.segments[place].startswith("{"):
            changed: tuple[str, ...] = (*_CHANGED, segment + "a", segment + "%30", segment + "%2F..", segment + "@x")
        else:
            first = segment[:1] or "x"
            encoded = f"%{ord(first):02X}{segment[1:]}"
            changed = (segment.upper(), segment.title(), segment[:-1], segment + "s", encoded)
        for other in changed:
            if other != segment:
                yield "/" + "/".join([*segments[:place], other, *segments[place + 1 :]])


def _queries_changed(row: Row) -> Iterator[str]:
    for name, _ in row.when_query:
        yield from (f"{name}=false", name, f"{name.title()}=true", f"{name}=True", f"{name}=true&{name}=true")
    for name, values in row.enum:
        deciding = "".join(f"{key}={value}&" for key, value in row.when_query)
        for other in (values[0].upper(), values[0] + "x", "", f"{values[0]}&{name}={values[1]}"):
            yield f"{deciding}{name}={other}"
    for name in row.query_without:
        yield from (f"{name}=true", f"{name.upper()}=true")
