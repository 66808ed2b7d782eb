"""Series of numbers → inline SVG and the numbers of a table. Pure: the same numbers give the same picture.

Colours and line patterns are classes of `console.css`, since the page forbids styles of elements. No two differ by
colour alone. What nobody looked at is a shaded gap; a line without a value is interrupted.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from statistics import fmean

Values = Sequence[float | None]

WIDTH, HEIGHT = 340, 176  # of the picture, in units of which letters are eleven high
_TOP, _RIGHT, _BOTTOM = 24, 8, 24
_LETTER = 6.4  # how wide a digit is
_TICKS = 4  # lines across, at most, beside the one at zero
_NAMED = 56  # how wide a gap is at least whose name fits in
_ROWS = 24  # of a table, at most
_STRETCHES = (60, 300, 3600)  # seconds that a row may stand for
_APART = (60, 120, 300, 900, 1800, 3600, 7200, 21_600)  # seconds between two moments that are named
_MOST_MOMENTS = 5
_NONE = "—"  # in a table, where there is no value
_QUARTER = 900  # every time zone is a whole number of these away from UTC


@dataclass(frozen=True, slots=True)
class Line:
    """One series. `mark` is its class (`c1` …); `fold` makes one number of several for the table."""

    name: str
    values: Values
    mark: str
    fold: Callable[[Sequence[float]], float] = fmean

    @property
    def latest(self) -> float | None:
        return self.values[-1] if self.values else None

    @property
    def highest(self) -> float:
        return max((value for value in self.values if value is not None), default=0.0)


@dataclass(frozen=True, slots=True)
class Plot:
    """What is drawn. Where `looked` is None, nobody looked. `top`: where the axis ends, if not as the numbers ask."""

    key: str
    title: str
    unit: str
    lines: Sequence[Line]
    looked: Values
    step: float
    end: float
    top: float | None = None

    @property
    def begin(self) -> float:
        return self.end - self.step * len(self.looked)

    @property
    def since(self) -> str:
        """The time on the axis, in words: `10:41 to 11:41 EST`."""
        return f"{_clock(self.begin)} to {_clock(self.end)} {_local(self.end).strftime('%Z')}"


@dataclass(frozen=True, slots=True)
class Table:
    """The same in words: a row for each stretch of time, with when it begins."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    minutes: int


def ticks(highest: float, top: float | None = None) -> list[float]:
    """Round numbers from zero to at least the highest: 1, 2 or 5 times a power of ten apart."""
    reach = top or highest or 1.0
    rough = reach / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for factor in (1, 2, 5, 10) if (step := factor * power) >= rough * (1 - 1e-9))
    count = math.ceil(reach / step - 1e-9)
    return [round(number * step, 10) for number in range(count + 1)]


def moments(begin: float, end: float) -> list[float]:
    """Round times of day in the person's own zone, at most five of them. Unix times."""
    apart = next((each for each in _APART if (end - begin) / each <= _MOST_MOMENTS), _APART[-1])
    grain = min(apart, _QUARTER)
    found = range(math.ceil(begin / grain) * grain, math.floor(end) + 1, grain)
    return [float(moment) for moment in found if _time_of_day(moment) % apart == 0]


def _time_of_day(moment: float) -> int:
    local = _local(moment)
    return (local.hour * 60 + local.minute) * 60 + local.second


def number(value: float, step: float | None = None) -> str:
    """A number as it is read: with as many digits as its step needs, or about three."""
    if step is None:
        step = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{min(digits, 4)}f}"


def svg(plot: Plot) -> str:
    """The picture as markup, with title and description for those who do not see it. Every text in it is escaped."""
    levels = ticks(max((line.highest for line in plot.lines), default=0.0), plot.top)
    names = [number(level, levels[1]) for level in levels]
    frame = _Frame(round(max(map(len, names)) * _LETTER + 8), levels[-1], plot)
    parts = [
        *(_level(frame, level, name) for level, name in zip(levels, names, strict=True)),
        *_gaps(plot, frame),
        *(_moment(frame, moment) for moment in moments(plot.begin, plot.end) if frame.has_room(moment)),
        f'<text class="unit" x="0" y="11">{escape(plot.unit)}</text>',
        *(stroke for line in plot.lines for stroke in strokes(line, frame)),
    ]
    name = f"charts-{plot.key}"
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(plot.title)}</title><desc id="{name}-desc">{escape(described(plot))}</desc>'
        f"{''.join(parts)}</svg>"
    )


class _Frame:
    """Where numbers and moments stand."""

    def __init__(self, left: int, top: float, plot: Plot) -> None:
        self.left, self.right, self.floor = left, WIDTH - _RIGHT, HEIGHT - _BOTTOM
        self._top, self._begin, self._end = top, plot.begin, plot.end
        self._count = len(plot.looked)

    def x(self, place: float) -> float:
        """Of a place in the series; a value stands in the middle of its step."""
        return self.left + (self.right - self.left) * place / max(self._count, 1)

    def y(self, value: float) -> float:
        return self.floor - (self.floor - _TOP) * min(max(value / self._top, 0.0), 1.0)

    def ys(self, values: Values) -> list[float]:
        """The same for many that lie on the axis."""
        floor, scale = self.floor, (self.floor - _TOP) / self._top
        return [floor - scale * value for value in values if value is not None]

    def at(self, moment: float) -> float:
        """Of a moment."""
        return self.left + (self.right - self.left) * (moment - self._begin) / (self._end - self._begin)

    def has_room(self, moment: float) -> bool:
        """Whether its name fits in below."""
        half = 2.6 * _LETTER
        return self.left + half / 2 <= self.at(moment) <= WIDTH - half


def strokes(line: Line, frame: _Frame) -> Iterator[str]:
    """One stroke for each run of values, a dot for a lonely one; what is level needs two points."""
    runs: list[str] = []
    dots: list[str] = []
    wide = frame.x(1) - frame.x(0)
    for begin, end in _runs(line.values, present=True):
        first, heights = frame.x(begin + 0.5), frame.ys(line.values[begin:end])
        before, after = [None, *heights[:-1]], [*heights[1:], None]
        bends = [
            f"{first + wide * place:.1f} {y:.1f}"
            for place, (y, left, right) in enumerate(zip(heights, before, after, strict=True))
            if y != left or y != right
        ]
        (runs if len(bends) > 1 else dots).append("M" + "L".join(bends))
    if runs:
        drawn = "".join(runs)
        yield f'<path class="line {line.mark}" d="{drawn}"/>'
    if dots:
        drawn = "".join(f"{dot}h0" for dot in dots)
        yield f'<path class="dot {line.mark}" d="{drawn}"/>'


def _runs(values: Values, *, present: bool) -> Iterator[tuple[int, int]]:
    """Where values begin and end to be there, or to be missing."""
    begin: int | None = None
    for place, value in enumerate((*values, 0.0 if not present else None)):
        if (value is not None) == present:
            begin = place if begin is None else begin
        elif begin is not None:
            yield begin, place
            begin = None


def _gaps(plot: Plot, frame: _Frame) -> Iterator[str]:
    height, middle = frame.floor - _TOP, (_TOP + frame.floor) // 2
    for begin, end in _runs(plot.looked, present=False):
        left, width = frame.x(begin), frame.x(end) - frame.x(begin)
        yield f'<rect class="gap" x="{left:.1f}" y="{_TOP}" width="{width:.1f}" height="{height}"/>'
        if width >= _NAMED:
            yield f'<text class="none" x="{left + width / 2:.1f}" y="{middle}">no data</text>'


def _level(frame: _Frame, level: float, name: str) -> str:
    y, kind = frame.y(level), "grid" if level else "axis"
    line = f'<path class="{kind}" d="M{frame.left} {y:.1f}H{frame.right}"/>'
    return f'{line}<text class="level" x="{frame.left - 5}" y="{y + 4:.1f}">{name}</text>'


def _moment(frame: _Frame, moment: float) -> str:
    x = frame.at(moment)
    line = f'<path class="axis" d="M{x:.1f} {frame.floor}v4"/>'
    return f'{line}<text class="moment" x="{x:.1f}" y="{HEIGHT - 7}">{_clock(moment)}</text>'


def described(plot: Plot) -> str:
    """What the picture shows, in a few sentences."""
    said = [f"{plot.unit}, {plot.since}."]
    for line in plot.lines:
        if not any(value is not None for value in line.values):
            said.append(f"{line.name}: no value.")
            continue
        latest = "no value" if line.latest is None else number(line.latest)
        highest = line.highest
        when = _clock(plot.begin + plot.step * line.values.index(highest))
        said.append(f"{line.name}: now {latest}, at most {number(highest)} at {when}.")
    return " ".join(said)


def table(plot: Plot) -> Table:
    """A row for each minute, for each five of an hour, for each hour of a day, the newest first."""
    whole = plot.step * len(plot.looked)
    stretch = next((each for each in _STRETCHES if whole / each <= _ROWS), _STRETCHES[-1])
    size = max(1, round(stretch / plot.step))
    found = []
    for begin in range(len(plot.looked) % size, len(plot.looked), size):
        there = [[each for each in line.values[begin : begin + size] if each is not None] for line in plot.lines]
        cells = [number(line.fold(values)) if values else _NONE for line, values in zip(plot.lines, there, strict=True)]
        found.append([_clock(plot.begin + plot.step * begin), *cells])
    minutes = round(size * plot.step / 60)
    return Table(["From", *(line.name for line in plot.lines)], found[::-1], minutes)


def swatch(mark: str) -> str:
    """A piece of a line as markup, for a legend."""
    line = f'<path class="line {mark}" d="M2 4H26"/>'
    return f'<svg class="swatch" viewBox="0 0 28 8" aria-hidden="true">{line}</svg>'


def _local(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC).astimezone()


def _clock(moment: float) -> str:
    return _local(moment).strftime("%H:%M")
