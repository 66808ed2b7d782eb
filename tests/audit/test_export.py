"""CSV: one line a record, and nothing that a spreadsheet would run."""

import csv
import io

from proxy.audit.export import COLUMNS, to_csv


def test_records_become_lines_of_a_table() -> None:
    """Named columns, times in UTC; what is not known is empty, what is quoted comes back."""
    records = [
        {"seq": 7, "time": 1_795_000_000.25, "kind": "call", "id": 'a"b,c', "status": 200, "mutating": True},
        {"seq": 8, "time": 1_795_000_001.0, "kind": "act", "act": "halt", "about": {"reason": "é"}},
    ]
    names, first, second = csv.reader(io.StringIO("".join(to_csv(records))))
    assert list(COLUMNS) == names
    call = dict(zip(names, first, strict=True))
    assert ("7", "2026-11-18T11:06:40.250+00:00", 'a"b,c', "200", "True", "") == tuple(
        call[name] for name in ("seq", "time", "id", "status", "mutating", "act")
    )
    assert "{'reason': 'é'}" == dict(zip(names, second, strict=True))["about"]


def test_no_cell_is_a_formula() -> None:
    """Request ids are the client's own words, reasons an operator's. Numbers stay numbers."""
    records = [{"seq": -1, "time": 0.0, "kind": "call", "id": text} for text in ("=1+1", "+x", "-x", "@x", "\tx", "ok")]
    rows = list(csv.DictReader(io.StringIO("".join(to_csv(records)))))
    assert ["'=1+1", "'+x", "'-x", "'@x", "'\tx", "ok"] == [row["id"] for row in rows]
    assert {"-1"} == {row["seq"] for row in rows}
