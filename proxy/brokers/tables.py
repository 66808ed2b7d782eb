"""The `params:`, `rows:` and `apis:` of a definition → one scope table for each API."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.brokers.definition import MAIN, Api, Environment, Rate
from proxy.brokers.logins import URL
from proxy.brokers.ordering import read_order
from proxy.brokers.section import Section
from proxy.config.problem import did_you_mean
from proxy.gate import patterns
from proxy.gate.orderrule import OrderForm
from proxy.gate.rows import METHODS
from proxy.gate.scopes import Row, ScopeTable, TableError, alike, as_sent, disguised

_FLAGS = ("mutating", "streaming", "inferred", "deny", "websocket")
_LISTS = ("query", "query_without", "body_without", "fills", "accounts")
_ROW = (
    "id", "method", "path", "scope", *_FLAGS, *_LISTS, "rate", "when_query", "enum", "max_body", "sent_prefix", "order",
    "speaks", "rewrites", "idle",
)  # fmt: skip
_PREFIX = 2  # what is cut off, what is put there


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that rows may use: scopes with their descriptions, rate categories, ways of writing orders.

    `account_params` are the captures that are an account.
    """

    scopes: Mapping[str, str]
    rates: Mapping[str, Rate]
    orders: Mapping[str, OrderForm] = field(default_factory=dict)
    account_params: tuple[str, ...] = ()


def api_names(section: Section) -> tuple[str, ...]:
    """The APIs that a definition has, the default first."""
    return tuple(section.section("apis").data) if section.data.get("apis") is not None else (MAIN,)


def read_apis(section: Section, words: Vocabulary) -> dict[str, Api] | None:
    """The APIs of a whole definition. None if a table cannot be made."""
    if ("rows" in section.data) == ("apis" in section.data):
        message = "stands beside `apis`" if "rows" in section.data else "is missing"
        section.fault("rows", message, "write `rows:` for one API, or `apis:` for several")
        return None
    empty = {name: Api(name, ScopeTable((), {})) for name in api_names(section)}
    return extend_apis(section, words, empty)


def extend_apis(section: Section, words: Vocabulary, known: Mapping[str, Api]) -> dict[str, Api] | None:
    """The same APIs with the rows and types of this section. None if a table cannot be made."""
    types, unsound = _types(section, known)
    found, whole = dict(known), True
    for name, part in _parts(section, known):
        elsewhere = {row.id for other, api in found.items() if other != name for row in api.table.rows}
        rows = [(row, place) for place in part.listed("rows") if (row := _row(place, words))]
        for row, place in rows:
            if row.id in elsewhere:
                place.fault("id", f"a row of another API is called {row.id}", "a name stands for one row of the broker")
        # A row with a bad type has been told of by its type.
        sound = [(row, place) for row, place in rows if not unsound & set(row.captures)]
        table = _table(part, found[name].table, sound, types)
        whole = whole and table is not None
        found[name] = Api(name, table or found[name].table)
    return found if whole else None


def _parts(section: Section, known: Mapping[str, Api]) -> Iterator[tuple[str, Section]]:
    """Each section with rows, and the API that they belong to."""
    if "rows" in section.data:
        if len(known) == 1:
            yield next(iter(known)), section
        else:
            fix = f"write them below apis: {{{next(iter(known))}: …}}"
            section.fault("rows", "there are several APIs", fix, at_key=True)
    apis = section.section("apis")
    for name, part in section.named("apis"):
        part.known(("rows",))
        if name in known:
            yield name, part
        else:
            fix = did_you_mean(name, known) or f"known: {', '.join(known)}"
            apis.fault(name, f"there is no API '{name}'", fix, at_key=True)


def _types(section: Section, known: Mapping[str, Api]) -> tuple[dict[str, str], set[str]]:
    """All types of captures, and the names of those that are none."""
    place = section.section("params")
    built_in = {name: text for api in known.values() for name, text in api.table.params.items()}
    added = section.text_map("params")
    for name in added.keys() & built_in.keys():
        place.fault(name, "is a type of the built-in broker", "use another name", at_key=True)
    return {**added, **built_in}, {name for name, text in added.items() if not _is_type(place, name, text)}


def _is_type(section: Section, name: str, text: str) -> bool:
    try:
        patterns.read(text)
    except patterns.PatternError as error:
        section.fault(name, f"is no type: {error}")
        return False
    return True


def _table(
    section: Section, built_in: ScopeTable, added: Sequence[tuple[Row, Section]], types: Mapping[str, str]
) -> ScopeTable | None:
    """The built-in rows and these, as one table."""
    places = {row.id: place for row, place in added}
    rows = [row for row, _ in added]
    whole = [*built_in.rows, *rows]
    try:
        table = ScopeTable(whole, types)
    except TableError:
        for problem in ScopeTable.faults(whole, types):
            place = places.get(problem.row) or section
            place.fault("path" if problem.row in places else "rows", f"row {problem}")
        return None
    # A built-in row's scope and flags are not the user's to change, and what it refuses stays refused.
    taken = [(loser, row, "take") for loser, row in built_in.losing_to(rows, types)]
    told = {row.id for _, row, _ in taken}
    taken += [(ours, row, "send") for ours, row in _disguised(built_in, rows, types) if row.id not in told]
    for ours, row, what in taken:
        message = f"row {row.id}: it would {what} calls of the built-in row {ours.id}"
        places[row.id].fault("path", message, "remove it")
    return table


def _disguised(built_in: ScopeTable, added: Sequence[Row], types: Mapping[str, str]) -> Iterator[tuple[Row, Row]]:
    """Added rows that call a built-in row's call by another name, under other rules; each once, with that row."""
    found: dict[str, tuple[Row, Row]] = {}
    for ours, row in disguised(built_in.rows, added, types):
        if _rules(ours) != _rules(row):
            found.setdefault(row.id, (ours, row))
    yield from found.values()


def _rules(row: Row) -> tuple[object, ...]:
    guards = (
        row.when_query,
        row.enum,
        row.query_without,
        row.body_without,
        row.fills,
        row.order,
        row.no_order,
        row.accounts,
        row.speaks,
        row.rewrites,
    )
    return row.scope, row.deny, row.mutating, row.streaming, row.websocket, *guards


def _row(section: Section, words: Vocabulary) -> Row | None:
    section.known(_ROW)
    section.needs("id", "method", "path", *(() if section.data.get("deny") is True else ("scope",)))
    for key, names in (("scope", words.scopes), ("rate", words.rates)):
        value = section.text(key)
        if value is not None and value not in names:
            known = f"known here: {', '.join(names) or 'none'}"
            section.fault(key, f"no such {key} is declared", did_you_mean(value, names) or known)
    enums = section.section("enum")
    fields: dict[str, Any] = {key: section.text(key) or "" for key in ("id", "method", "path", "scope")}
    fields |= {key: section.flag(key) or False for key in _FLAGS}
    fields |= {key: section.texts(key) for key in _LISTS}
    fields |= {
        "rate": section.text("rate"),
        "max_body": section.whole("max_body"),
        "speaks": section.text("speaks") or "plain",
        "rewrites": section.text("rewrites"),
        "idle": section.whole("idle"),
        "when_query": tuple(section.text_map("when_query").items()),
        "enum": tuple((name, enums.texts(name)) for name in enums.data),
        "sent_prefix": _sent_prefix(section),
    }
    fields["order"], fields["no_order"] = read_order(section, words.orders)
    if not all(fields[key] for key in ("id", "method", "path")) or not (fields["scope"] or fields["deny"]):
        return None
    try:
        row = Row(**fields)
        return replace(row, account_captures=tuple(name for name in row.captures if name in words.account_params))
    except TableError as error:
        section.fault(None, str(error))
        return None


def _sent_prefix(section: Section) -> tuple[str, str] | None:
    found = section.texts("sent_prefix")
    if found and len(found) != _PREFIX:
        section.fault("sent_prefix", "must be two texts", "write [what the path starts with, what is sent instead]")
        return None
    return (found[0], found[1]) if found else None


def check_own_endpoints(
    section: Section, apis: Mapping[str, Api], environments: Mapping[str, Environment], emulated: str | None
) -> None:
    """No row takes an address that bearerd itself uses: a client must not get at tokens through us."""
    for api in apis.values():
        # One table each: two rows may well go out as the same call.
        tables = [
            api.table,
            *(ScopeTable((as_sent(row),), api.table.params) for row in api.table.rows if row.sent_prefix),
        ]
        for path in dict.fromkeys(_own_paths(environments, emulated)):
            segments = tuple(path[1:].encode().split(b"/"))
            rows = [row for table in tables for method in METHODS for row in table.rows_at(method, segments)]
            rows += [row for table in tables for row in table.rows if alike(row.path, path)]
            for name, method in dict.fromkeys((row.id, row.method) for row in rows):
                message = f"row {name} takes {method} {path}, where tokens are handed out"
                section.fault("rows" if "rows" in section.data else "apis", message, "remove the row")


def _own_paths(environments: Mapping[str, Environment], emulated: str | None) -> Iterator[str]:
    if emulated:
        yield emulated
    for environment in environments.values():
        for endpoints in environment.logins.values():
            for url in (endpoints.token_url, endpoints.refresh_url, endpoints.authorize_url, endpoints.revoke_url):
                if url and (found := URL.fullmatch(url)) and len(found["path"]) > 1:
                    yield found["path"]
