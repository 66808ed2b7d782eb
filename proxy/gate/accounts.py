"""The accounts that a call names: in its path, its query and its body."""

import re
from collections.abc import Iterator

from proxy.gate.bodies import bare, denied, fields, media, members, strict_object
from proxy.gate.orders import Written
from proxy.gate.query import spellings
from proxy.gate.rows import Row

_ACCOUNT = re.compile(r"[A-Za-z0-9-]{1,64}")


def concerns(row: Row) -> bool:
    """Whether calls of this row say which account they are about."""
    return bool(row.account_captures or row.accounts)


def named(row: Row, written: Written) -> list[str]:
    """Every account that the call names. `Refusal("guard-denied")` if that cannot be read without doubt."""
    found = [value.decode("ascii") for name, value in written.captures if name in row.account_captures]
    if row.accounts:
        found += _in_query(row, written.query)
        found += _in_body(row, written)
    return found


def _in_query(row: Row, query: bytes | None) -> Iterator[str]:
    """A query is often full of what we need not understand: only what could name an account must be plain."""
    if not query:
        return
    spelled = spellings(query)
    for name in row.accounts:
        exact = [value for field, _, value in _split(query) if field == name.encode()]
        if spelled(name) != len(exact) or len(exact) > 1:
            raise denied(f"The query names `{name}` twice, or in a second spelling.")
        for value in exact:
            yield from _texts(name, [part.decode("ascii") for part in value.replace(b"%2C", b",").split(b",")])


def _split(query: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    return (field.partition(b"=") for field in query.split(b"&"))


def _in_body(row: Row, written: Written) -> Iterator[str]:
    if not written.body:
        return
    told: list[tuple[str, object]]
    match media(written.headers):
        case "json":
            told = list(members(strict_object(written.body, written.headers, as_written=True)))
        case "form":
            told = list(fields(written.body))
            spelled = spellings(written.body)
            for name in row.accounts:
                if spelled(name) != sum(field == name for field, _ in told):
                    raise denied(f"The body names `{name}` in a second spelling.")
        case _:
            raise denied("The Content-Type says neither JSON nor a form, so that no account can be read from the body.")
    wanted = {bare(name) for name in row.accounts}
    for name, value in told:
        if bare(name) in wanted:
            if name not in row.accounts:
                raise denied("The body names an account in a second spelling.")
            yield from _texts(name, value if isinstance(value, list) else [value])


def _texts(name: str, values: list[str] | list[object]) -> Iterator[str]:
    for value in values:
        if value is None or value == "":
            continue
        if not isinstance(value, str) or not _ACCOUNT.fullmatch(value):
            raise denied(f"What stands in `{name}` is no account.")
        yield value
