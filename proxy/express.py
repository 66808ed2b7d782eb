"""The express lane: a plain read for which everything is at hand, from the client's bytes to the answer without a task.

A task, a request object, a response object and the futures between them cost more than all that the gate decides. Most
calls need none: a GET whose client is known, whose token is fresh, whose budget has room, and for which a connection to
the broker is open. Such a call is let in by the same functions of the gate as any other, its head is written at once,
and the callback that brings the last byte of the answer writes it to the client (`trip.py`).

Whatever is not so simple is not taken (`take` says False): nothing has happened, and the call goes the ordinary way. An
answer that is not simple (a 401, a long one, a lost one) goes the ordinary way from there on. Nothing is decided here
that `Gateway` and `Relay` do not decide.

What the gate says of a target, or of a client's headers, hangs on nothing but their bytes, the policy and the door. It
is kept as long as those are the same; what may change from one call to the next is asked each time: whether the key
still counts, halts, the token, the budget. Without this file (`engine.express: false`) every call takes the ordinary
way, which costs two to three times as much.
"""

from hashlib import sha256

from proxy import emulation
from proxy.admission import Called, Door, Policy, matched, reached, read_target, scheme_of
from proxy.clock import Clock
from proxy.connection import ExpressHandler
from proxy.errors import Refusal
from proxy.gate import browser
from proxy.gate.rows import Row
from proxy.gate.tracecontext import parent_of
from proxy.gateway import Gateway
from proxy.plainhead import Block
from proxy.relay import headers as header_rules
from proxy.trip import Known, Trip, Way

MOST_WAYS = 1024  # targets of which it is kept where they lead, at each door
LONGEST_WAY = 256  # bytes of such a target
MOST_BLOCKS = 256  # clients' headers of which it is kept what the gate found in them, at each door


class Express:
    """The express lane at one door."""

    def __init__(self, gateway: Gateway, door: Door, clock: Clock) -> None:
        self._gateway = gateway
        self._door = door
        self._clock = clock
        self._policy: Policy | None = None
        self._ways: dict[tuple[str, bytes], Way | None] = {}
        self._blocks: dict[tuple[bytes, str], Known] = {}

    def take(self, line: ExpressHandler, data: bytes) -> bool:
        """Serve the request that `data` is, if it is a plain read for which everything is at hand."""
        if (trip := self._trip(line, data)) is None:
            return False
        try:
            trip.let_in()
            if self._gateway.pressure.calm:
                return trip.set_off()
            return trip.plain.method == "GET" and trip.set_off_or_shed()
        except Refusal:  # said by the ordinary way, which comes to the same
            return False

    def lets_in(self, line: ExpressHandler, data: bytes) -> bool:
        """Whether `data` is a plain read that the gate lets pass, whatever is at hand for it."""
        if (trip := self._trip(line, data)) is None:
            return False
        try:
            trip.let_in()
        except Refusal:
            return False
        return True

    def _trip(self, line: ExpressHandler, data: bytes) -> Trip | None:
        """The request that `data` is, if it is plain, and nothing in its bytes is for others to judge."""
        gateway, door = self._gateway, self._door
        if (plain := line.heads.read(data)) is None:
            return None
        policy, known = gateway.policy, plain.block.notes
        if not isinstance(known, Known) or known.policy is not policy or known.hosts is not door.hosts:
            known = plain.block.notes = self._known(policy, plain.method, plain.block, line)
        if not known.passes or (way := self._way(policy, plain.method, plain.target)) is None:
            return None
        return Trip(gateway, door, line, data, plain, known, way, self._clock.now())

    # -- what is kept --------------------------------------------------------------------------------------------------

    def _known(self, policy: Policy, method: str, block: Block, line: ExpressHandler) -> Known:
        """What is known of these headers. Who calls once on each connection sends the same ones too.

        It is found by their digest: what is kept of a client's key is the key's digest, and nothing else.
        """
        key = sha256(block.raw).digest(), scheme_of(line.line)
        known = self._blocks.get(key)
        if known is None or known.policy is not policy or known.hosts is not self._door.hosts:
            if len(self._blocks) >= MOST_BLOCKS:
                self._blocks.clear()
            known = self._blocks[key] = self._judged(policy, method, block, line)
        return known

    def _judged(self, policy: Policy, method: str, block: Block, line: ExpressHandler) -> Known:
        """What the gate says of a client's headers. Of GET and HEAD, which are all that come here, it says the same."""
        headers, scheme = block.headers, scheme_of(line.line)
        known = Known(policy, self._door.hosts)
        try:
            browser.check(method, headers, known.hosts, scheme=None if policy.keyring.open_to_all else scheme)
            header_rules.check(headers)
            known.fingerprint = policy.keyring.fingerprint(headers)
        except Refusal:
            return known
        known.request_id = header_rules.request_id(headers, "") or None
        known.parent = parent_of(headers)
        known.url = reached(line.line, headers)
        known.passes = True
        return known

    def _way(self, policy: Policy, method: str, raw: bytes) -> Way | None:
        """Where a target leads; None if others have to judge."""
        if self._policy is not policy or len(self._ways) >= MOST_WAYS:
            self._policy, self._ways = policy, {}
        key = method, raw
        if key in self._ways:
            return self._ways[key]
        found = self._found(policy, method, raw)
        if len(raw) <= LONGEST_WAY:
            self._ways[key] = found
        return found

    def _found(self, policy: Policy, method: str, raw: bytes) -> Way | None:
        wanted = read_target(raw.decode("ascii"), self._door)
        mount = None if isinstance(wanted, Refusal) else policy.mounts.get(wanted.mount)
        if mount is None or isinstance(wanted, Refusal) or emulation.concerns(mount.broker, method, wanted):
            return None
        try:
            match = matched(mount, method, wanted)
        except Refusal:
            return None
        if not _is_plain(match.row) or mount.relay.placement.kind == "query":
            return None
        return Way(Called(mount, wanted, match), wanted.sent_as(match.row.sent(wanted.path)))


def _is_plain(row: Row) -> bool:
    """Whether its calls only read, bring nothing, and have an end."""
    special = row.mutating or row.order or row.websocket or row.streaming or row.rewrites or row.fills
    return not special and not row.deny
