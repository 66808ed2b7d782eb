"""Bars as SVG, readable on light and on dark paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _RIGHT = 760, 170, 150
_TOP, _ROW, _THICK = 64, 30, 18
_STYLE = """
 text { font: 14px system-ui, sans-serif; fill: #24292f }
 .title { font-weight: 600; font-size: 16px } .quiet { fill: #57606a; font-size: 12px }
 .bar { fill: #8c959f } .ours { fill: #0969da } .name { text-anchor: end }
 .rule { stroke: #8c959f; stroke-opacity: .35 } .strong { font-weight: 600 }
 @media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 } .bar { fill: #6e7681 } .ours { fill: #4493f8 }
 }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One line. `ours`: in the colour that stands out."""

    name: str
    value: float
    ours: bool = False


def bars(title: str, subtitle: str, unit: str, given: Sequence[Bar], most: float) -> str:
    """A chart of bars from short to long. What is longer than `most` is cut and says so."""
    rows = sorted(given, key=lambda bar: bar.value)
    height = _TOP + _ROW * len(rows) + 16
    scale = (_WIDTH - _LEFT - _RIGHT) / min(most, max((bar.value for bar in rows), default=most))
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title, quote=True)}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
        f'<text class="quiet" x="16" y="46">{escape(subtitle)}</text>',
        f'<line class="rule" x1="{_LEFT}" x2="{_LEFT}" y1="{_TOP - 8}" y2="{height - 12}"/>',
    ]
    for number, bar in enumerate(rows):
        parts += _row(bar, _TOP + _ROW * number, scale, most, unit)
    return "\n".join([*parts, "</svg>", ""])


def _row(bar: Bar, top: int, scale: float, most: float, unit: str) -> list[str]:
    width = max(1.0, min(bar.value, most) * scale)
    text = f"{bar.value:,.0f}" if bar.value >= 100 else f"{bar.value:.1f}"  # noqa: PLR2004  no decimals from there on
    text += f" {escape(unit)}" + (" (bar cut)" if bar.value > most else "")
    strong, kind = ("strong", "ours") if bar.ours else ("", "bar")
    return [
        f'<text class="name {strong}" x="{_LEFT - 10}" y="{top + 14}">{escape(bar.name)}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_THICK}" rx="2"/>',
        f'<text class="value {strong}" x="{_LEFT + width + 8:.1f}" y="{top + 14}">{text}</text>',
    ]
