"""Pictures from numbers: round ticks, gaps that are gaps, and the same in words."""

import re
import time
from xml.etree import ElementTree as ET

import pytest

from proxy.console.plot import HEIGHT, WIDTH, Line, Plot, Values, described, moments, number, svg, swatch, table, ticks

END = 1_795_270_873.0  # 14:21:13 UTC


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def plot(*series: Values, looked: Values | None = None, step: float = 10.0, top: float | None = None) -> Plot:
    lines = [Line(f"line {place}", values, f"c{place}") for place, values in enumerate(series, start=1)]
    return Plot("calls", "Calls", "calls/s", lines, looked or series[0], step, END, top)


def drawn(shown: Plot) -> ET.Element:
    """The picture, which is well-formed."""
    return ET.fromstring(svg(shown))  # noqa: S314  our own


def texts(shown: Plot, kind: str) -> list[str]:
    return ["".join(each.itertext()) for each in drawn(shown).iter("text") if each.get("class") == kind]


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (0.0, [0, 0.5, 1.0]),
        (0.03, [0, 0.01, 0.02, 0.03]),
        (1.0, [0, 0.5, 1.0]),
        (3.2, [0, 1, 2, 3, 4]),
        (4.0, [0, 1, 2, 3, 4]),
        (22, [0, 10, 20, 30]),
        (180, [0, 50, 100, 150, 200]),
        (1234, [0, 500, 1000, 1500]),
    ],
)
def test_ticks_are_round_numbers(highest: float, expected: list[float]) -> None:
    """From zero to at least the highest, no more than five."""
    assert expected == ticks(highest)


@pytest.mark.parametrize("exponent", range(-4, 8))
def test_ticks_cover_every_number(exponent: int) -> None:
    """Whatever the numbers are: the last tick is not below them, and at most two steps above."""
    for factor in (1, 1.1, 1.9, 2.5, 3.3, 4.99, 5, 7.7, 9.99):
        found = ticks(factor * 10.0**exponent)
        assert 2 <= len(found) <= 6
        assert found[-2] < factor * 10.0**exponent <= found[-1] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (1500, 500, "1,500"), (0.5, 0.5, "0.5"), (0, 0.01, "0.00"), (3.14159, None, "3.1"), (0.02345, None, "0.023"),
        (0, None, "0"), (12345.6, None, "12,346"), (100, 50, "100"),
    ],
)  # fmt: skip
def test_numbers_have_the_digits_that_they_need(value: float, step: float | None, expected: str) -> None:
    """As many as their step has, or two that count."""
    assert expected == number(value, step)


def test_an_hour_has_its_quarters_and_a_day_every_sixth_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the clock of the person, also where that is half an hour beside."""
    hour = Plot("a", "", "", [], [0.0] * 360, 10.0, END)
    assert ["13:30", "13:45", "14:00", "14:15"] == texts(hour, "moment")
    assert [END - 3073, END - 2173, END - 1273, END - 373] == moments(END - 3600, END)
    assert ["14:12", "14:14", "14:16", "14:18", "14:20"] == texts(
        Plot("a", "", "", [], [0.0] * 60, 10.0, END), "moment"
    )
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    day = Plot("a", "", "", [], [0.0] * 288, 300.0, END)
    assert ["00:00", "06:00", "12:00", "18:00"] == texts(day, "moment")
    assert day.since.endswith(" IST")


def test_a_line_ends_where_values_do() -> None:
    """Two runs are two strokes, a lonely value is a dot, and of what is level the ends are enough."""
    shown = plot([1.0, 1.0, 1.0, 2.0, None, 3.0, None, 1.0, 2.0])
    line, dot = (each for each in drawn(shown).iter("path") if "c1" in (each.get("class") or ""))
    assert ["line c1", "dot c1"] == [line.get("class"), dot.get("class")]
    assert [3, 2] == [run.count("L") + 1 for run in (line.get("d") or "").split("M")[1:]]
    assert re.fullmatch(r"M[\d.]+ [\d.]+h0", dot.get("d") or "")


def test_where_nobody_looked_is_shaded() -> None:
    """And named, where the name fits in; a line without a value alone is no gap."""
    looked: Values = [*[None] * 20, *[0.0] * 30, None, *[0.0] * 9]
    shown = plot([None] * 60, looked=looked)
    gaps = [each for each in drawn(shown).iter("rect") if each.get("class") == "gap"]
    assert 2 == len(gaps)
    assert ["no data"] == texts(shown, "none")
    widths = [float(each.get("width") or 0) for each in gaps]
    assert widths[0] == pytest.approx(20 * widths[1], abs=1.2)


@pytest.mark.parametrize("highest", [0.002, 1, 950, 12_345, 9_999_999])
@pytest.mark.parametrize("span", [(60, 10.0), (360, 10.0), (24, 300.0), (288, 300.0)], ids=["10m", "hour", "2h", "day"])
def test_no_label_leaves_the_picture_or_covers_another(highest: float, span: tuple[int, float]) -> None:
    """At the size of its letters, eleven high and at most 6.6 wide."""
    count, step = span
    shown = plot([highest] * count, step=step)
    boxes = []
    for each in drawn(shown).iter("text"):
        wide, x, y = 6.6 * len(each.text or ""), float(each.get("x") or 0), float(each.get("y") or 0)
        left = {"level": x - wide, "moment": x - wide / 2, "none": x - wide / 2}.get(each.get("class") or "", x)
        boxes.append((left, y - 9, left + wide, y + 2, each.text))
    for left, above, right, below, text in boxes:
        assert -1 <= left, text
        assert right <= WIDTH + 1, text
        assert 0 <= above < below <= HEIGHT, text
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)


def test_every_text_is_escaped_and_nothing_is_styled() -> None:
    """The page's policy forbids styles of elements; names are those of somebody's configuration."""
    hostile = Plot("a", "<b>", '"&', [Line("</desc><script>", [1.0], "c1")], [1.0], 10.0, END)
    markup = svg(hostile)
    ET.fromstring(markup)  # noqa: S314
    assert "<script" not in markup
    assert "<b>" not in markup
    assert "style" not in markup
    assert "</desc><script>: now 1.0" in described(hostile)
    assert 'class="line c3"' in swatch("c3")


def test_the_picture_is_described() -> None:
    """Title, span, and of each line what it is now and when it was highest."""
    found = drawn(plot([1.0, 8.0, 2.5], [None, None, None], looked=[0.0, 0.0, 0.0]))
    assert ("img", "charts-calls-title charts-calls-desc") == (found.get("role"), found.get("aria-labelledby"))
    assert "Calls" == found.findtext("title")
    assert "calls/s, 14:20 to 14:21 UTC. line 1: now 2.5, at most 8.0 at 14:20. line 2: no value." == found.findtext(
        "desc"
    )


def test_a_table_says_the_same() -> None:
    """A row for five minutes of an hour, the newest first; what there is none of is a dash."""
    values: Values = [None if place < 60 else float(place) for place in range(360)]
    shown = Plot("a", "", "", [Line("mean", values, "c1"), Line("highest", values, "c2", max)], values, 10.0, END)
    found = table(shown)
    assert (["From", "mean", "highest"], 12, 5) == (found.head, len(found.rows), found.minutes)
    assert ["14:16", "344", "359"] == found.rows[0]
    assert ["13:21", "—", "—"] == found.rows[-1]
    day, young = (table(Plot("a", "", "", [], [0.0] * count, step, END)) for count, step in ((288, 300.0), (62, 10.0)))
    assert (60, 24) == (day.minutes, len(day.rows))
    assert (1, 10, "14:20") == (young.minutes, len(young.rows), young.rows[0][0])
