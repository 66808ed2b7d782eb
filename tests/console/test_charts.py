"""What the console's charts are about, and how they read."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FunctionLoader, StrictUndefined

from proxy.console import charts, plot
from proxy.console.charts import Chart, drawn, span_of
from proxy.console.page import FILTERS
from proxy.history import OTHERS, Shown, Values
from tests.test_history import Server

END = 1_795_270_873.0
TEMPLATES = Path(charts.__file__).parent / "templates"


def shown(**changes: Any) -> Shown:
    level: Values = [0.0] * 360
    values: dict[str, Any] = {
        "step": 10.0, "end": END, "calls": {"questrade": level}, "denied": level, "errors": level,
        "p50": [0.02] * 360, "p95": [0.3] * 360, "left": {},
    }  # fmt: skip
    return Shown(**values | changes)


def chart(key: str, **changes: Any) -> Chart:
    return next(each for each in drawn(shown(**changes), END) if each.key == key)


def legend(found: Chart) -> list[tuple[str, str]]:
    return [(entry.name, entry.latest) for entry in found.legend]


def test_a_server_s_past_is_four_charts() -> None:
    """Calls, refusals and errors, times, limits, from what was looked at."""
    server = Server(budgets=[("questrade market", 5, 20)])
    server.calls(25)
    server.later()
    found = drawn(server.history.shown(span_of("nonsense")), server.clock.wall)
    assert ["calls", "troubles", "times", "limits"] == [each.key for each in found]
    assert [("questrade", "2.5")] == legend(found[0])
    assert [("refused by bearerd", "0"), ("failed at the broker", "0")] == legend(found[1])
    assert [("questrade market", "25")] == legend(found[3])
    assert [each.unit for each in found] == ["calls/s", "calls/min", "ms", "%"]
    assert "24h" == span_of("24h")


@pytest.mark.parametrize(
    ("rate", "unit", "latest"), [(0.5, "calls/min", "30"), (1.0, "calls/s", "1.0"), (0.0, "calls/min", "0")]
)
def test_few_calls_are_told_by_the_minute(rate: float, unit: str, latest: str) -> None:
    """A call each few seconds is easier to read so."""
    found = chart("calls", calls={"questrade": [rate] * 360})
    assert (unit, [("questrade", latest)]) == (found.unit, legend(found))


def test_long_times_are_told_in_seconds() -> None:
    """One that takes a second makes the difference."""
    assert ("ms", "300") == (chart("times").unit, chart("times").legend[1].latest)
    slow = chart("times", p95=[2.5] * 360)
    assert ("s", "2.5") == (slow.unit, slow.legend[1].latest)


def test_the_busiest_mounts_have_a_line_and_the_others_one() -> None:
    """Five of their own, the rest added up, with what history calls others."""
    calls = {f"m{number}": [float(number)] * 360 for number in range(8)} | {OTHERS: [0.5] * 360}
    found = chart("calls", calls=calls)
    assert [("m3", "3.0"), ("m4", "4.0"), ("m5", "5.0"), ("m6", "6.0"), ("m7", "7.0"), (OTHERS, "3.5")] == legend(found)
    assert 6 == len({entry.swatch for entry in found.legend})


def test_the_tightest_limits_are_shown_in_percent() -> None:
    """And how many are left out is said."""
    left: dict[str, Values] = {f"g{number} orders": [None, number / 10] for number in range(8)}
    found = chart("limits", left=left, denied=[0.0, 0.0])
    assert ("g0 orders", "0") == legend(found)[0]
    assert ("g4 orders", "40") == legend(found)[-1]
    assert "3 more, which had more left, are not shown" in found.note
    assert ">100</text>" in found.svg


def test_what_is_not_there_is_said_in_words() -> None:
    """No rate limit, no mount; and a server that has just started ends its axis now."""
    assert "No call has been counted" in chart("limits").missing
    assert "No mount" in chart("calls", calls={}).missing
    nothing: Values = [None] * 360
    young = chart("calls", denied=nothing, calls={"questrade": nothing}, end=0.0)
    assert "no data" in young.svg
    assert not young.since.startswith("23:")


@pytest.mark.parametrize(
    ("step", "count", "looks", "drawn_looks"),
    [(10.0, 360, 3, 60), (10.0, 360, 100, 100), (10.0, 360, 360, 360), (300.0, 288, 2, 24), (300.0, 288, 288, 288)],
    ids=["started", "half-an-hour", "hour", "started-day", "day"],
)
def test_a_young_server_s_axis_is_short(
    step: float, count: int, looks: int, drawn_looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten minutes at least, or two hours: what is before the start is no more than that."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    level: Values = [*[None] * (count - looks), *[1.0] * looks]
    young = shown(step=step, calls={"a": level}, denied=level, errors=level, p50=level, p95=level, left={"g": level})
    begin = datetime.fromtimestamp(END - drawn_looks * step, UTC).strftime("%H:%M")
    assert {begin} == {found.since.partition(" to ")[0] for found in drawn(young, END)}


def test_a_busy_page_stays_small(figure: Callable[[object], None]) -> None:
    """Twenty mounts and ten limits that never stand still, for an hour: the pictures are a page's worth of markup."""
    moving: list[Values] = [[float(place * (line + 3) % 97) for place in range(360)] for line in range(20)]
    changes: dict[str, Any] = {
        "calls": {f"m{line}": values for line, values in enumerate(moving)},
        "left": {f"g{line}": [(value or 0.0) / 97 for value in values] for line, values in enumerate(moving[:10])},
        "denied": moving[0], "errors": moving[1], "p50": moving[2], "p95": moving[3],
    }  # fmt: skip
    begun = time.perf_counter()
    found = drawn(shown(**changes), END)
    took, size = time.perf_counter() - begun, len(rendered(found))
    assert size < 120_000
    figure(f"{took * 1000:.1f} ms and {size / 1024:.0f} KiB for four charts of a busy hour")


def rendered(found: list[Chart]) -> str:
    environment = Environment(
        loader=FunctionLoader(lambda name: (TEMPLATES / name).read_text()), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= FILTERS
    page = environment.get_template("charts.html.j2")
    return page.render(charts=found, span="1h", link=lambda span: f"./?span={span}&a=1")


def test_the_fragment_holds_pictures_legends_and_tables() -> None:
    """With links that choose the span, and names escaped."""
    page = rendered(drawn(shown(calls={"<i>": [1.0] * 360}), END))
    assert 3 == page.count('<svg class="chart"')
    assert 3 == page.count("<details>")
    assert "<i>" not in page
    assert 'href="./?span=24h&amp;a=1#charts" id="charts-24h">Last 24 hours' in page
    assert 'id="charts-1h" aria-current="true">Last hour' in page
    assert "style=" not in page


def test_every_line_has_a_class_of_the_style_sheet() -> None:
    """A colour and, but for the first, a pattern; so have the parts of a picture."""
    css = (TEMPLATES / "console.css").read_text()
    for mark in ("c2", "c3", "c4", "c5", "others"):
        assert f".line.{mark} {{ stroke-dasharray" in css
    assert [] == [name for name in ("grid", "axis", "gap", "level", "moment", "none") if f".chart .{name}" not in css]
    assert charts.MOST == 5
    assert plot.WIDTH == 340
