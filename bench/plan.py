"""How long and how often is measured, and where."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import upstream
from bench.load import Caller, Way
from bench.machine import cores
from bench.peers.peer import ROOT, Peer, Served, Stage
from bench.processes import Missing
from bench.upstream import QUOTE

Section = dict[str, Any]  # of results.json


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds, and the seconds of one measurement: with many clients; with one; with new connections; to warm up.

    0 leaves one out, except the first. `names`: words in the names of proxies, none for all.
    """

    rounds: int = 3
    many: float = 3.0
    one: float = 1.0
    fresh: float = 0.7
    warm: float = 1.0
    names: tuple[str, ...] = ()

    def said(self) -> Section:
        """For the results."""
        return {"rounds": self.rounds, "many": self.many, "one": self.one, "fresh": self.fresh}


@dataclass(frozen=True, slots=True)
class Hall:
    """Everything that runs while a part measures: the broker, and those proxies that could be started."""

    direct: Way
    served: dict[str, Served]
    versions: dict[str, str]
    missing: dict[str, str]
    stage: Stage
    load_core: int

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Whoever fails in here is missing from now on, with the reason."""
        try:
            yield
        except Missing as reason:
            self.missing[name] = self.said(reason)
            self.served.pop(name, None)

    def said(self, reason: Missing) -> str:
        """Without the folders of this run and of this project."""
        return str(reason).replace(str(self.stage.home), "…").replace(str(ROOT), "…")


@contextmanager
def opened(peers: list[Peer]) -> Iterator[Hall]:
    """The broker and these proxies, each of which has answered once, as it should. Missing without the broker."""
    load_core, proxy_core = cores()
    with TemporaryDirectory(prefix="brd-bench-") as home, ExitStack() as stack:
        broker = stack.enter_context(upstream.serving(Path(home), load_core))
        direct = Way(broker.url, (f"Authorization: Bearer {broker.token}",), broker.ca_file)
        hall = Hall(direct, {}, {}, {}, Stage(Path(home), broker, proxy_core), load_core)
        for number, peer in enumerate(peers):
            try:
                version = peer.version()
                served = stack.enter_context(peer.serve(hall.stage.inside(str(number))))
                check(served.way)
            except Missing as reason:
                hall.missing[peer.name] = hall.said(reason)
            else:
                hall.versions[peer.name], hall.served[peer.name] = version, served
        yield hall


def check(way: Way) -> None:
    """Missing unless the broker's answer comes, unchanged."""
    try:
        body = Caller(way).call()
    except (OSError, TimeoutError) as error:
        raise Missing(f"a call fails: {type(error).__name__}") from None
    if body.decode("utf-8", "replace") != QUOTE:
        raise Missing(f"another answer comes: {body[:80]!r}")
