"""Faults that a person or a test switches on, by name, for the next so many requests."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a broker. `places` are the parts of the simulator that ask for it; `hits` tells a person."""

    name: str
    places: frozenset[str]
    hits: str


class UnknownFault(Exception):
    """No fault of that name, or a number of times that makes no sense. The text is for the caller."""


class Faults:
    """The faults of one broker, and which of them are armed. The oldest one that fits a request is used up first."""

    def __init__(self, catalogue: Iterable[Fault]) -> None:
        self._catalogue: Mapping[str, Fault] = {fault.name: fault for fault in catalogue}
        self._armed: Counter[str] = Counter()  # in the order of arming

    def catalogue(self) -> dict[str, str]:
        """Name → what it hits."""
        return {fault.name: fault.hits for fault in self._catalogue.values()}

    def add(self, name: str, times: int = 1) -> None:
        """Arm a fault for `times` more requests; `none` disarms all. UnknownFault if there is none of that name."""
        if name == "none":
            self._armed.clear()
            return
        if name not in self._catalogue:
            raise UnknownFault("no such fault; GET /faults lists them")
        if isinstance(times, bool) or times < 1:
            raise UnknownFault("times must be a whole number from 1 up")
        self._armed[name] += times

    def armed(self) -> dict[str, int]:
        """Name → for how many more requests."""
        return dict(self._armed)

    def take(self, place: str) -> str | None:
        """The fault that the request now at `place` suffers, if any; it is used up by one."""
        if not self._armed:  # nearly always
            return None
        name = next((name for name in self._armed if place in self._catalogue[name].places), None)
        if name is not None:
            self._armed[name] -= 1
            if not self._armed[name]:
                del self._armed[name]
        return name
