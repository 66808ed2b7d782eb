"""Things that a client makes, lists, changes and deletes, and that nothing else depends on: transfers, journals, …"""

import uuid
from collections.abc import Callable, Iterator

from proxy.simulator.alpaca import moments
from proxy.simulator.alpaca.answers import Reply, missing
from proxy.simulator.alpaca.routes import Call, Route

Record = dict[str, object]
_MOST = 1000
Make = Callable[[Call, Record], Record]


class Shelf:
    """Records of one kind at a path; where that holds an account, each account sees its own only.

    `make` turns what a client sent into the record's own members, empty for a first one. With `wrapped` a list stands
    in an object under that name. A second request with the same `Idempotency-Key` answers with the first one's record.
    """

    def __init__(self, path: str, capture: str, make: Make, *, wrapped: str | None = None) -> None:
        self.path = path
        self._capture = capture
        self._make = make
        self._wrapped = wrapped
        self._kept: dict[str, dict[str, Record]] = {}  # by account, then by id
        self._by_key: dict[str, Record] = {}

    def rows(self, *methods: str, one: tuple[str, ...] = ()) -> Iterator[tuple[str, Route]]:
        """The routes of the list for `methods`, and those of one thing for `one`."""
        handlers = {"GET": self._list, "POST": self._create}
        for method in methods:
            yield method, Route(self.path, "", handlers[method])
        changes = {"GET": self._get, "PATCH": self._change, "DELETE": self._delete}
        for method in one:
            yield method, Route(f"{self.path}/{{{self._capture}}}", "", changes[method])

    def create(self, call: Call, given: Record) -> Record:
        """Keep a new one."""
        moment = moments.written(call.now)
        new = {"id": str(uuid.uuid4()), "created_at": moment, "updated_at": moment, **self._make(call, given)}
        self._of(call)[str(new["id"])] = new
        return new

    def _of(self, call: Call) -> dict[str, Record]:
        owner = call.captures.get("account_id", "")
        if owner not in self._kept:
            self._kept[owner] = {}
            self.create(call, {})
        return self._kept[owner]

    def _list(self, call: Call) -> object:
        found = list(self._of(call).values())
        start = call.number("offset", 0, _MOST, least=0)
        found = found[start : start + call.number("limit", _MOST, _MOST)]
        return {self._wrapped: found, "next_page_token": None} if self._wrapped else found

    def _create(self, call: Call) -> object:
        key = call.headers.get("idempotency-key")
        if key in self._by_key:
            return self._by_key[key]
        new = self.create(call, call.document)
        if key is not None:
            self._by_key[key] = new
        return new

    def _get(self, call: Call) -> Record:
        found = self._of(call).get(call.captures[self._capture])
        if found is None:
            raise missing(self._capture.removesuffix("_id"))
        return found

    def _change(self, call: Call) -> object:
        found = self._get(call)
        found |= {**call.document, "updated_at": moments.written(call.now)}
        return found

    def _delete(self, call: Call) -> object:
        del self._of(call)[str(self._get(call)["id"])]
        return Reply(status=204)
