"""One key of a client, as the store keeps it."""

from dataclasses import dataclass
from typing import Any

from proxy.secret import Secret
from proxy.store.vault import Entry

PREFIX = "client/"
BOUND = "bound/"  # apart from the others: to number those, nobody has to read these
_FIELDS = frozenset({"client", "created", "digest", "grants", "expires", "replaced"})  # of a stored one


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One key of a client. `number` tells a client's keys apart, 0 is a lent one; times are Unix time.

    `grants` are the members that it is bound to, at most one of each grant; without any it is for everybody's.
    `expires`: from then on it is refused. `replaced`: since then there is another key in its place. `generation` is
    that of its record.
    """

    client: str
    number: int
    created: float
    digest: str
    grants: tuple[str, ...] = ()
    expires: float | None = None
    replaced: float | None = None
    generation: int = 1

    @property
    def record(self) -> str:
        """Where it is stored."""
        return f"{BOUND if self.grants else PREFIX}{self.client}/{self.number}"

    @property
    def value(self) -> dict[str, Any]:
        """What is stored of it."""
        more = {"grants": list(self.grants) or None, "expires": self.expires, "replaced": self.replaced}
        kept = {name: part for name, part in more.items() if part is not None}
        return {"client": self.client, "created": self.created, "digest": self.digest} | kept

    @classmethod
    def of(cls, record: str, entry: Entry) -> "ClientKey":
        """ValueError, LookupError or TypeError if it makes no sense, or says more than is known: maybe a limit."""
        if not entry.value.keys() <= _FIELDS:
            raise ValueError("a newer bearerd has written it")
        number, value = int(record.rpartition("/")[2]), entry.value
        grants, ends = tuple(value.get("grants", ())), (_moment(value.get("expires")), _moment(value.get("replaced")))
        return cls(value["client"], number, float(value["created"]), value["digest"], grants, *ends, entry.generation)

    def ended(self, now: float) -> bool:
        """Whether it is refused because of its age."""
        return self.expires is not None and self.expires <= now


def _moment(value: float | None) -> float | None:
    return None if value is None else float(value)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made, and what it is: `reveal` gives the text that is shown this once."""

    key: ClientKey
    secret: Secret

    def reveal(self) -> str:
        return self.secret.reveal()
