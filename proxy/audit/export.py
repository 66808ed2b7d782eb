"""Records for other programs: JSON lines as they stand in the trail, or CSV for a spreadsheet. Pure."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

COLUMNS = (
    "seq", "time", "kind", "id", "client", "mount", "grant", "member", "method", "row", "scope", "class", "mutating",
    "rule", "account", "status", "outcome", "generation", "replayed", "ms", "intent", "sent", "who", "act", "about",
    "close", "up", "up_bytes", "down", "down_bytes",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Lines of CSV, the first with the names of the columns. Times are in UTC (ISO 8601)."""
    yield _row(COLUMNS)
    for fields in records:
        shown = fields | {"time": datetime.fromtimestamp(fields["time"], UTC).isoformat(timespec="milliseconds")}
        yield _row(tuple(_cell(shown.get(name)) for name in COLUMNS))


def _row(cells: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    # A spreadsheet would run it: request ids are the client's own, reasons an operator's.
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
