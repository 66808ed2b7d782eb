"""Which troubles there are: what is seen has to last to become one, and to stay away to be over. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from proxy.alerts.notice import Trouble


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look has found: troubles, and keys of which nobody can say. Whatever else there was is well."""

    wrong: Mapping[str, Trouble] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()


class Troubles:
    """`look` once in a while; `open` has what is wrong. `known` was open when an earlier process ended."""

    def __init__(self, known: Iterable[Trouble] = ()) -> None:
        self.open: dict[str, Trouble] = {trouble.key: trouble for trouble in known}
        self._wrong_since: dict[str, float] = {}
        self._well_since: dict[str, float] = {}

    def look(self, sight: Sight, boot: float) -> None:
        """Take over what was seen at `boot` (seconds, never stepped)."""
        for key, trouble in sight.wrong.items():
            self._well_since.pop(key, None)
            since = self._wrong_since.setdefault(key, boot)
            known = self.open.get(key)
            if known is not None and known.version == trouble.version:
                self.open[key] = replace(trouble, since=min(known.since, trouble.since))
            elif known is not None or boot - since >= trouble.patience:
                self.open[key] = trouble
        for key in list(self._wrong_since):
            if key not in sight.wrong and key not in sight.unsure:
                del self._wrong_since[key]
        for key, trouble in list(self.open.items()):
            if key in sight.wrong or key in sight.unsure:
                continue
            if boot - self._well_since.setdefault(key, boot) >= trouble.calm:
                del self.open[key]
                del self._well_since[key]
