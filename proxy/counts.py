"""Counting for next to nothing: numbers in lists, which `metrics.py` turns into samples when somebody reads them.

The counters of the client library take a lock and several objects a step: 6 µs for what is counted of one call, which
takes 1 µs here. And numbers in lists are plain data, so that one process can add what another has counted.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

# From what a warm connection to a near broker takes to where an answer is given up.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Cell = list[float]
# Of each family: the labels of a series, and by how much each of its numbers has grown.
Snapshot = dict[str, list[tuple[list[str], list[float]]]]


class Family:
    """One metric: a cell for each set of labels. `size` numbers are in a cell, all of which only grow."""

    __slots__ = ("_cells", "_told", "labels", "name", "size", "text")

    def __init__(self, name: str, text: str, labels: Iterable[str], *, size: int = 1) -> None:
        self.name, self.text, self.labels, self.size = name, text, tuple(labels), size
        self._cells: dict[tuple[str, ...], Cell] = {}
        self._told: dict[tuple[str, ...], Cell] = {}
        if not self.labels:
            self.cell()

    def cell(self, *labels: str) -> Cell:
        """The numbers of these labels. Whoever counts often keeps it."""
        found = self._cells.get(labels)
        if found is None:
            found = self._cells[labels] = [0.0] * self.size
        return found

    def cells(self) -> Iterator[tuple[tuple[str, ...], Cell]]:
        """Labels and numbers of every series."""
        return iter(self._cells.items())

    def grown(self) -> list[tuple[list[str], list[float]]]:
        """What has been counted since this was last asked."""
        found = []
        for labels, cell in self._cells.items():
            told = self._told.get(labels) or [0.0] * self.size
            if cell != told:
                self._told[labels] = list(cell)
                found.append((list(labels), [now - before for now, before in zip(cell, told, strict=True)]))
        return found

    def add(self, grown: Iterable[tuple[Iterable[str], Iterable[float]]]) -> None:
        """Count what another process tells of. It stays out of what `grown` tells of this one."""
        for labels, numbers in grown:
            more, key = list(numbers), tuple(labels)
            if len(more) != self.size or len(key) != len(self.labels):
                raise ValueError(f"what was counted as {self.name} has another shape here")
            cell, told = self.cell(*key), self._told.setdefault(key, [0.0] * self.size)
            for place, number in enumerate(more):
                cell[place] += number
                told[place] += number


class Times(Family):
    """A family of durations: of each series the sum of all seconds, and how many fell between two of `SECONDS`."""

    __slots__ = ()

    def __init__(self, name: str, text: str, labels: Iterable[str]) -> None:
        super().__init__(name, text, labels, size=len(SECONDS) + 2)

    def observe(self, seconds: float, *labels: str) -> None:
        note(self.cell(*labels), seconds)


def note(cell: Cell, seconds: float) -> None:
    """Count a duration in a cell of `Times`."""
    cell[0] += seconds
    cell[1 + bisect_left(SECONDS, seconds)] += 1


def snapshot(families: Mapping[str, Family]) -> Snapshot:
    """What has been counted since the last time; families of which nothing has been counted are left out."""
    return {name: grown for name, family in families.items() if (grown := family.grown())}


def absorb(families: Mapping[str, Family], told: Snapshot) -> None:
    """Add what another process tells. `LookupError`, `ValueError`: it counts otherwise than this one."""
    for name, grown in told.items():
        families[name].add(grown)
