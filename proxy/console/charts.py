"""What the console's charts are about: calls, refusals and errors, the broker's times, what is left of its limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from proxy.console.plot import Line, Plot, Table, Values, number, svg, swatch, table
from proxy.history import LONG_STEP, OTHERS, STEP, Shown, Span

MOST = 5  # lines of their own in one picture; more than that nobody can tell apart
_MINUTE = 60.0
_YOUNG = {STEP: 600.0, LONG_STEP: 7200.0}  # seconds that are shown at least, by the seconds between two looks
_LEAST = 1.0  # a second: fewer calls are told by the minute
_LONG = 1.0  # seconds: shorter times are told in milliseconds


@dataclass(frozen=True, slots=True)
class Entry:
    """What a legend says of a line: a piece of it (markup), its name, and its newest value (empty: there is none)."""

    swatch: str
    name: str
    latest: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture (markup) with what belongs to it. `note` says how the table folds, `missing` stands in its place."""

    key: str
    title: str
    unit: str
    since: str
    svg: str
    legend: Sequence[Entry]
    table: Table
    note: str
    missing: str = ""


def span_of(text: str) -> Span:
    """A span as the address gives it: the last day (`24h`) or, whatever else it says, the last hour."""
    return "24h" if text == "24h" else "1h"


def drawn(shown: Shown, now: float) -> list[Chart]:
    """All charts of these numbers; `now` (Unix time) is their end where there are none yet. It takes milliseconds."""
    end = shown.end if any(value is not None for value in shown.denied) else now
    shown = _trimmed(shown)
    plots = [_calls(shown, end), _troubles(shown, end), _times(shown, end), _limits(shown, end)]
    return [_chart(plot, note, missing) for plot, note, missing in plots]


def _trimmed(shown: Shown) -> Shown:
    """Without most of the time before the start: the first minutes of a server would be a needle at the edge."""
    first = next((place for place, value in enumerate(shown.denied) if value is not None), len(shown.denied))
    keep = max(round(_YOUNG[shown.step] / shown.step), len(shown.denied) - first) if shown.step in _YOUNG else 0
    cut = slice(-keep or None, None)
    return replace(
        shown,
        calls={name: values[cut] for name, values in shown.calls.items()},
        left={name: values[cut] for name, values in shown.left.items()},
        **{name: getattr(shown, name)[cut] for name in ("denied", "errors", "p50", "p95")},
    )


def _chart(plot: Plot, note: str, missing: str) -> Chart:
    legend = [
        Entry(swatch(line.mark), line.name, "" if line.latest is None else number(line.latest)) for line in plot.lines
    ]
    return Chart(
        plot.key, plot.title, plot.unit, plot.since, svg(plot), legend, table(plot), note, missing if not legend else ""
    )


def _calls(shown: Shown, end: float) -> tuple[Plot, str, str]:
    factor, unit = _rate(*shown.calls.values())
    lines = [Line(name, _times_each(values, factor), mark) for (name, values), mark in _marked(_busiest(shown.calls))]
    plot = Plot("calls", "Calls", f"calls/{unit}", lines, shown.denied, shown.step, end)
    return plot, "Means of the time from then on.", "No mount is configured."


def _troubles(shown: Shown, end: float) -> tuple[Plot, str, str]:
    factor, unit = _rate(shown.denied, shown.errors)
    lines = [
        Line("refused by bearerd", _times_each(shown.denied, factor), "c1"),
        Line("failed at the broker", _times_each(shown.errors, factor), "c2"),
    ]
    plot = Plot("troubles", "Refused and failed", f"calls/{unit}", lines, shown.denied, shown.step, end)
    return plot, "Means of the time from then on. The broker failed: 5xx, no answer, or none in time.", ""


def _times(shown: Shown, end: float) -> tuple[Plot, str, str]:
    highest = max((value for value in (*shown.p50, *shown.p95) if value is not None), default=0.0)
    factor, unit = (1.0, "s") if highest >= _LONG else (1000.0, "ms")
    lines = [
        Line("half of the calls", _times_each(shown.p50, factor), "c1"),
        Line("95 of 100 calls", _times_each(shown.p95, factor), "c2", max),
    ]
    plot = Plot("times", "Until the broker's answer", unit, lines, shown.denied, shown.step, end)
    return plot, "Means of the time from then on; of 95 of 100 calls the highest.", ""


def _limits(shown: Shown, end: float) -> tuple[Plot, str, str]:
    lowest = sorted(shown.left.items(), key=lambda found: _least(found[1]))[:MOST]
    lines = [
        Line(name, _times_each(values, 100.0), mark, min) for (name, values), mark in _marked(dict(sorted(lowest)))
    ]
    plot = Plot("limits", "Left of the broker's rate limits", "%", lines, shown.denied, shown.step, end, top=100.0)
    hidden = len(shown.left) - len(lines)
    more = f" {hidden} more, which had more left, are not shown." if hidden > 0 else ""
    return plot, f"The least of the time from then on.{more}", "No call has been counted against a rate limit yet."


def _marked(series: Mapping[str, Values]) -> list[tuple[tuple[str, Values], str]]:
    """Each with the class of its line; what stands for all others is plain."""
    return [
        (found, "others" if found[0] == OTHERS else f"c{place}") for place, found in enumerate(series.items(), start=1)
    ]


def _busiest(calls: Mapping[str, Values]) -> dict[str, Values]:
    """At most so many lines as can be told apart, in order of their names; the rest is one, the last."""
    own = {name: values for name, values in calls.items() if name != OTHERS}
    rest = {name: values for name, values in calls.items() if name == OTHERS}
    if len(own) > MOST:
        busy = {name: count for name, values in own.items() if (count := sum(filter(None, values)))}
        busiest = set(sorted(busy, key=lambda name: -busy[name])[:MOST])
        rest |= {name: values for name, values in own.items() if name not in busiest}
        own = {name: values for name, values in own.items() if name in busiest}
    return own | ({OTHERS: _sum(list(rest.values()))} if rest else {})


def _sum(series: Sequence[Values]) -> Values:
    columns = [[value for value in column if value is not None] for column in zip(*series, strict=True)]
    return [sum(column) if column else None for column in columns]


def _rate(*series: Values) -> tuple[float, str]:
    """What a rate is multiplied with to be read easily, and what it is then: by the second, or by the minute."""
    highest = max((value for values in series for value in values if value is not None), default=0.0)
    return (1.0, "s") if highest >= _LEAST else (_MINUTE, "min")


def _times_each(values: Values, factor: float) -> Values:
    return [None if value is None else value * factor for value in values]


def _least(values: Values) -> float:
    return min((value for value in values if value is not None), default=1.0)
