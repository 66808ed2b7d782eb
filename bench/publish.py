"""From `results.json` to what people read: two charts, and the tables in the documents between their marks."""

import re
from pathlib import Path
from typing import Any

from bench import targets
from bench.chart import Bar, bars
from bench.results import FILE, kept

HERE = Path(__file__).parent
DOCUMENTS = (HERE / "README.md", HERE.parent / "README.md")
_CUT = 130.0  # microseconds; what costs more is cut off in the chart
_MARK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def published(file: Path = FILE) -> dict[Path, str]:
    """Each file that is made from the results, with what it should hold. Nothing without results."""
    results = kept(file)
    if "calls" not in results:
        return {}
    found = {HERE / "charts" / f"{name}.svg": text for name, text in charts(results).items()}
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        found[document] = _MARK.sub(lambda mark: f"{mark[1]}{table(results, mark[2])}{mark[3]}", text)
    return found


def publish(file: Path = FILE) -> None:
    """Write them."""
    for path, text in published(file).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


def charts(results: dict[str, Any]) -> dict[str, str]:
    """By name."""
    rows, machine = results["calls"]["proxies"], results["machine"]
    subtitle = f"GET, 365 bytes, TLS to the broker; {machine['processor']}, {machine['cores']} cores, one for the proxy"
    found = {}
    for name, key, title in (
        ("cpu", "cpu_us", "Processor time a request"),
        ("latency", "added_us", "What a proxy adds to a call, one client, p50"),
    ):
        given = [Bar(who, row[key], who == "bearerd") for who, row in rows.items() if row[key]]
        found[name] = bars(title, subtitle, "µs", given, _CUT if key == "cpu_us" else 4 * _CUT)
    return found


def table(results: dict[str, Any], name: str) -> str:
    """One of the tables, as Markdown. Empty for a part that was not measured."""
    makers = {
        "calls": _calls,
        "kinds": _kinds,
        "variants": _kinds,
        "machine": _machine,
        "width": _width,
        "long": _long,
        "ratios": _ratios,
        "streams": _streams,
    }
    if name == "targets":
        return "\n".join(targets.table(results)) + "\n"
    section = results.get("calls" if name == "ratios" else name)
    return "" if section is None else "\n".join(makers[name](section)) + "\n"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"  # noqa: PLR2004  no decimals from there on


def _calls(section: dict[str, Any]) -> list[str]:
    direct, rows = section["direct"], section["proxies"]
    ours = rows.get("bearerd", {}).get("cpu_us")
    found = [
        "| proxy | CPU µs | bearerd's is | one client, p50 µs | added µs | new connection each, µs | RSS MB | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
        f"| none (TLS to the broker) | - | - | {_number(direct['one_us'])} | - | {_number(direct['fresh_us'])} | - | |",
    ]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["cpu_us"]):
        ratio = f"{ours / row['cpu_us']:.2f} x" if ours and name != "bearerd" else ""
        figures = [
            _number(row["cpu_us"]),
            ratio,
            *(_number(row[key]) for key in ("one_us", "added_us", "fresh_us", "rss_mb")),
        ]
        who = f"**{name}**" if name == "bearerd" else f"{name} {row['version']}"
        found.append(f"| {who} | {' | '.join(figures)} | {row['note']} |")
    return found + _missing(section)


def _ratios(section: dict[str, Any]) -> list[str]:
    """For the first page: bearerd beside each, as multiples."""
    rows = section["proxies"]
    ours = rows["bearerd"]
    found = [
        "| bearerd's, as a multiple of | processor time a request | latency added, one client |",
        "|---|---:|---:|",
    ]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["cpu_us"]):
        if name != "bearerd":
            added = f"{ours['added_us'] / row['added_us']:.2f}" if row["added_us"] else "-"
            found.append(f"| {name} {row['version']} | {ours['cpu_us'] / row['cpu_us']:.2f} | {added} |")
    return found


def _kinds(section: dict[str, Any]) -> list[str]:
    rows = section["proxies"]
    kinds = [key for key in ("same", "each", "page") if any(key in row for row in rows.values())]
    said = {"same": "the same call", "each": "another target each call", "page": "2 kB of headers"}
    found = [f"| CPU µs a request | {' | '.join(said[kind] for kind in kinds)} |", "|---|" + "---:|" * len(kinds)]
    found += [
        f"| {name} | {' | '.join(_number(row[kind]['cpu_us']) for kind in kinds)} |" for name, row in rows.items()
    ]
    return found + _missing(section)


def _width(section: dict[str, Any]) -> list[str]:
    found = ["| mounts x rows | CPU µs a request |", "|---|---:|"]
    return found + [f"| {name} | {_number(row['cpu_us'])} |" for name, row in section["widths"].items()]


def _long(section: dict[str, Any]) -> list[str]:
    found = ["| 64 MiB answer | MB a CPU second | memory added, MiB |", "|---|---:|---:|"]
    for name, row in section["proxies"].items():
        found.append(f"| {name} | {_number(row['mb_per_cpu_second'])} | {row['memory_added_mib']} |")
    return found + _missing(section)


def _streams(section: dict[str, Any]) -> list[str]:
    found = ["| bearerd's, as a multiple of a bare relay's | |", "|---|---:|"]
    words = {"p50": "latency added, p50", "p99": "latency added, p99", "cpu": "processor time a message"}
    found += [f"| one message each way: {words[name]} | {value} |" for name, value in section["ratios"].items()]
    found += [
        f"| hub of market data, 1,000 clients, {mix}: processor time a message | {row['ratio']} |"
        for mix, row in section["hub"].items()
        if "ratio" in row
    ]
    return found


def _machine(machine: dict[str, Any]) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}"
    return [f"Measured on {where}; Python {machine['python']}, {packages}."]


def _missing(section: dict[str, Any]) -> list[str]:
    rows = [f"- {name}: {reason}" for name, reason in section["missing"].items()]
    return ["", "Missing, because they could not be had or did not start:", "", *rows] if rows else []
