"""All proxies of the benchmark, in the order of the tables."""

from collections.abc import Iterable

from bench.peers import bearerd, debian, golang, node, python
from bench.peers.peer import Peer

PEERS: tuple[Peer, ...] = (bearerd.BEARERD, *debian.PEERS, *golang.PEERS, *python.PEERS, *node.PEERS)
VARIANTS = bearerd.VARIANTS
QUICK = ("Envoy", "Go ReverseProxy", "Caddy")  # beside bearerd


def chosen(names: Iterable[str]) -> list[Peer]:
    """Those with one of these words in their names, whatever the case; without words all that are no variant of ours.

    bearerd itself always.
    """
    words = [name.lower() for name in names]
    if not words:
        return list(PEERS)
    every = (*PEERS, *VARIANTS)
    return [each for each in every if each is bearerd.BEARERD or any(word in each.name.lower() for word in words)]
