"""What the gate costs when there is much to look through: from 1 mount with 10 rows to 50 mounts with 500 rows each.

The mounts share one definition, since 25,000 rows of YAML take long to read; a call looks into one table anyway.
"""

from dataclasses import asdict
from functools import partial
from typing import Any

from bench.calls import Book, turn, warm
from bench.peers.bearerd import serve
from bench.peers.peer import Peer
from bench.plan import Plan, Section, opened
from proxy import __version__

WIDTHS = {"1 x 10": (1, 10), "50 x 500": (50, 500)}


def definition(rows: int, port: int, ca_file: str) -> dict[str, Any]:
    """A broker with so many calls, of which the benchmark's own is the last."""
    shapes = (
        "/v1/group{}/item{}",
        "/v1/accounts/{{account}}/group{}/item{}",
        "/v1/accounts/{{account}}/group{}/{{order}}/item{}",
    )
    table = [
        {"id": f"row_{at}", "method": "GET", "path": shapes[at % 3].format(at % 20, at), "scope": "read"}
        for at in range(rows - 1)
    ]
    table.append({"id": "quotes", "method": "GET", "path": "/v1/markets/quotes", "scope": "read"})
    return {
        "title": "Wide", "scopes": {"read": "Looking"}, "logins": {"key": {"kind": "secret"}},
        "params": {"account": "[A-Z0-9]{3,16}", "order": "[0-9]{1,18}"}, "rows": table,
        "environments": {
            "bench": {"api_server": f"https://127.0.0.1:{port}", "api_hosts": ["127.0.0.1:*"], "ca_file": ca_file}
        },
    }  # fmt: skip


def _wide(mounts: int, rows: int, stage: Any) -> Any:
    port, ca_file = stage.upstream.port, str(stage.upstream.ca_file)
    names = ["tradier", *(f"mount{number}" for number in range(1, mounts))]
    return serve(
        stage,
        mounts={
            name: {"broker": "wide", "environment": "bench", "scopes": ["read"], "grant": "wide"} for name in names
        },
        clients={"bench": {name: ["read"] for name in names}},
        brokers={"wide": definition(rows, port, ca_file)},
    )


def _version() -> str:
    return __version__


PEERS = [Peer(name, _version, partial(_wide, *width), f"{width[0]} x {width[1]}") for name, width in WIDTHS.items()]


def measure(plan: Plan) -> Section:
    """Processor time a call with each width, in turns."""
    book = Book()
    with opened(PEERS) as hall:
        warm(plan, hall)
        for _ in range(plan.rounds * 2):
            for name, served in list(hall.served.items()):
                with hall.trying(name):
                    book.note(name, **asdict(turn(hall, served, plan.many)))
        rows = {
            name: {"cpu_us": book.median(name, "cpu"), "cpu_us_rounds": book.rounds(name, "cpu")}
            for name in hall.served
        }
    return {"plan": plan.said(), "widths": rows, "missing": hall.missing}


def lines(section: Section) -> list[str]:
    """For a terminal."""
    found = [f"{name:26}  CPU us a call {row['cpu_us']}" for name, row in section["widths"].items()]
    return found + [f"missing: {name}: {reason}" for name, reason in section["missing"].items()]
