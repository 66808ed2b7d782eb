"""What a broker partner does about OAuth applications for its own users: look one up, issue or authorize a token for a
user's account, revoke one (https://github.com/alpacahq/alpaca-docs, content/api-references/broker-api/oauth.md).

An operator's command takes the way of a client's call: a row of the mount's table, and the mount's relay with its token
and its pin. Only the mount's scopes are not asked: whoever reaches the admin socket may change them anyway.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from time import perf_counter
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from proxy.admin import CommandFailed, NotPossible
from proxy.admission import Mount
from proxy.audit import record as audit
from proxy.audit.calls import Calls
from proxy.errors import Refusal
from proxy.gate import fill, target
from proxy.gate.rows import CAPTURE, Row
from proxy.gate.scopes import Match
from proxy.outbound import Lost
from proxy.relay import headers as header_rules
from proxy.relay.http import SMALL, Exchange, Outgoing
from proxy.secret import Secret
from proxy.settings import GrantSettings, Settings

OPERATOR = "operator"  # who asks, in the audit trail
DEFAULT_SCOPE = "general"  # the only value that the documentation shows
_LONGEST_WORDS = 200  # characters of a broker's message that are shown


class Running(Protocol):
    """What it needs of an `App`."""

    settings: Settings
    calls: Calls

    def mount(self, name: str) -> Mount: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """One command. `call` is `client`, `token`, `authorize` or `revoke`; texts that were not given are None.

    `account` is the id of the partner's user. `token_id` may be the token itself.
    """

    call: str
    mount: str
    client_id: str | None = None
    account: str | None = None
    redirect_uri: str | None = None
    scope: str | None = None
    response_type: str | None = None
    token_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the broker said. `document` is None if it is no JSON object; `words` is its message, fit to be shown."""

    status: int
    document: dict[str, Any] | None = field(repr=False)
    words: str = field(repr=False)
    request_id: str | None = None

    @property
    def ok(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


async def carry_out(app: Running, params: Mapping[str, Any]) -> dict[str, Any]:
    """Do what the params of the admin socket's `oauth` ask for: the fields of `Wish`.

    Answers `{"status": …, "answer": …}`, whose `answer` is the broker's own document (None for a revoked token): it may
    hold a token, this once. Raises `NotPossible`, and `CommandFailed` with what to do about the broker's refusal.
    """
    wish = Wish(**params)
    try:
        mount = app.mount(wish.mount)
    except LookupError:
        raise NotPossible(f"there is no mount '{wish.mount}'") from None
    partner = Partner(mount, app.settings.grants[mount.relay.grant], app.calls)
    try:
        return await partner.carry_out(wish)
    except Refusal as refusal:
        raise CommandFailed("not-possible", refusal.detail, refusal.fix) from None


class Partner:
    """A mount through which a partner's calls go."""

    def __init__(self, mount: Mount, grant: GrantSettings, calls: Calls) -> None:
        self._mount = mount
        self._grant = grant
        self._calls = calls

    async def carry_out(self, wish: Wish) -> dict[str, Any]:
        """See the function of that name; raises `Refusal` too."""
        row = self._row(wish.call)
        wish = self._completed(wish)
        answer = await self._ask(row, wish)
        if not answer.ok:
            message, fix = await self._advice(wish, answer)
            raise CommandFailed("not-possible", message, fix)
        document = None if wish.call == "revoke" else answer.document
        needed = {"token": "access_token", "authorize": "code"}.get(wish.call)
        if wish.call != "revoke" and (document is None or (needed and not isinstance(document.get(needed), str))):
            message = f"{self._title} answered {answer.status}, but not with what was asked for"
            raise CommandFailed("not-possible", message)
        if document is not None and needed:
            Secret(document[needed])  # from now on no log shows it
        return {"status": answer.status, "answer": document}

    @property
    def _title(self) -> str:
        return self._mount.broker.title

    @property
    def _apps(self) -> str:
        return f"grants.{self._grant.name}.apps"

    def _completed(self, wish: Wish) -> Wish:
        """The wish with what the configuration says of its application."""
        if wish.call not in ("token", "authorize"):
            return wish
        known = self._grant.apps.get(wish.client_id or "")
        if known is None:
            fix = f"add the application, with its client_secret_file, under {self._apps}, then: bearerd reload"
            raise NotPossible("the secret of this application is not kept here", fix)
        redirect_uri = wish.redirect_uri or known.redirect_uri
        if redirect_uri is None:
            fix = f"give --redirect-uri, or redirect_uri under {self._apps}.{wish.client_id}"
            raise NotPossible(f"{self._title} wants the redirect URI of the application", fix)
        scope = wish.scope or known.scope or DEFAULT_SCOPE
        return Wish(wish.call, wish.mount, wish.client_id, wish.account, redirect_uri, scope)

    def _row(self, call: str) -> Row:
        broker = self._mount.broker
        if call not in broker.partner_oauth:
            raise NotPossible(f"{broker.title} documents no such call for partners")
        wanted = broker.partner_oauth[call]
        for row in self._mount.table.rows:
            if row.id == wanted:
                return row
        homes = [api.name for api in broker.apis.values() if any(row.id == wanted for row in api.table.rows)]
        raise NotPossible(
            f"the mount '{self._mount.name}' is the API {self._mount.api} of {broker.title}, and this call belongs to "
            f"{', '.join(homes)}",
            f"name a mount with `api: {homes[0]}`",
        )

    async def _ask(self, row: Row, wish: Wish) -> Answer:
        """One call. Raises `Refusal` if no answer came."""
        request_id = secrets.token_hex(8)
        outgoing = self._outgoing(row, wish, request_id)
        record = audit.Record(request_id, row.method, self._mount.name, OPERATOR, began=perf_counter())
        audit.matched(record, row, ())
        try:
            if row.mutating:
                await self._calls.intend(record, outgoing.target, outgoing.body)
            answer = _read(*await self._exchange(outgoing), hidden=wish.token_id)
            record.status, record.outcome = answer.status, "broker"
        except Refusal as refusal:
            record.outcome, record.status = refusal.kind.name, refusal.kind.status
            raise
        finally:
            await self._calls.settle(record)
            self._calls.ended(record)
        return answer

    def _outgoing(self, row: Row, wish: Wish, request_id: str) -> Outgoing:
        wanted = self._target(row, wish)
        mount = self._mount
        headers = header_rules.to_broker(
            [(b"Accept", b"application/json")], also=frozenset(), user_agent=mount.user_agent, request_id=request_id
        )
        body: bytes | None = None
        held: tuple[Secret, ...] = ()
        if row.fills:
            fields = ("client_id", "redirect_uri", "scope")
            members = {name: getattr(wish, name) for name in fields} | {"account_id": wish.account}
            body, secret = fill.filled(json.dumps(members).encode(), row.fills, mount.apps, grant=mount.relay.grant)
            held, headers = (secret,), header_rules.as_json(headers)
        return Outgoing(
            method=row.method,
            target=wanted.sent_as(row.sent(wanted.path)),
            headers=headers,
            body=body,
            mutating=row.mutating,
            streaming=False,
            holds=held,
        )

    def _target(self, row: Row, wish: Wish) -> target.Target:
        """What the call is to, held against the table like any client's."""
        said = {name: getattr(wish, name) for name in ("response_type", "redirect_uri", "scope")}
        query = urlencode({name: value for name, value in said.items() if value}, quote_via=quote, safe="")
        named = (wish.token_id if wish.call == "revoke" else wish.client_id) or ""
        path = CAPTURE.sub(lambda _: named, row.path)
        raw = path + (f"?{query}" if query and wish.call == "client" else "")
        try:
            wanted = target.parse(raw.encode("utf-8", "surrogateescape"), mount=self._mount.name)
        except Refusal:
            wanted = None
        match = wanted and self._mount.table.match(row.method, wanted)
        # A `?` would have become a query, which no table holds against anything.
        whole = isinstance(match, Match) and all(value == named.encode() for _, value in match.captures)
        if wanted is None or not isinstance(match, Match) or match.row.id != row.id or not whole:
            raise NotPossible(f"that does not have the form of the ids of {self._title}")
        return wanted

    async def _exchange(self, outgoing: Outgoing) -> tuple[Exchange, bytes]:
        exchange = await self._mount.relay.fetch(outgoing)
        try:
            body, whole = exchange.start, exchange.whole
            if not whole:
                more, whole = await exchange.answer.start(SMALL)
                body += more
        except Lost as error:
            raise Refusal("bad-answer", f"{self._title}'s answer broke off: {error}.") from None
        finally:
            self._mount.relay.finish(exchange)
        if not whole:
            raise Refusal("bad-answer", f"{self._title}'s answer is longer than any that is documented.")
        return exchange, body

    async def _advice(self, wish: Wish, answer: Answer) -> tuple[str, str | None]:
        """What the broker's refusal means, and what to do."""
        said = f" It says: {answer.words.rstrip('.')}." if answer.words else ""
        number = f" Its request id is {answer.request_id}." if answer.request_id else ""
        status = answer.status
        if wish.call in ("token", "authorize") and status in (401, 422):
            found = await self._look_up(wish)
            message, fix = self._blame(wish, status, found)
        elif wish.call == "client" and status == HTTPStatus.UNAUTHORIZED:
            message, fix = self._unknown_client()
        elif wish.call == "revoke" and status in (401, 404, 422):
            message, fix = f"{self._title} knows no such token ({status}); it may be revoked already.", None
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            message = f"{self._title} failed ({status}); whether it did anything is not known."
            fix = f"try again later; if that goes on, ask the support of {self._title}"
        else:
            message, fix = f"{self._title} answered {status}.", None
        return message + said + number, fix

    def _unknown_client(self) -> tuple[str, str]:
        message = f"{self._title} knows no OAuth client with this client_id, or you have no access to it (401)."
        return message, f"check the client_id; if other calls fail too: bearerd login {self._mount.name}"

    async def _look_up(self, wish: Wish) -> Answer | None:
        """What the broker knows of the application: tells which part of a refused call was wrong."""
        try:
            return await self._ask(self._row("client"), Wish("client", wish.mount, wish.client_id))
        except (Refusal, NotPossible):
            return None

    def _blame(self, wish: Wish, status: int, found: Answer | None) -> tuple[str, str]:
        """Which of client_id, client_secret, redirect_uri and scope a 401 or 422 is about."""
        at = f"{self._apps}.{wish.client_id}"
        application = found.document if found and found.ok and found.document else None
        if status == HTTPStatus.UNAUTHORIZED:
            if application is None:
                return self._unknown_client()
            if application.get("status") == "DISABLED":
                return f"{self._title} has disabled this application (401).", f"ask the support of {self._title}"
            fix = f"correct client_secret or client_secret_file under {at}, then: bearerd reload"
            return f"{self._title} knows this application, so its client_secret is wrong (401).", fix
        known = _texts(application.get("redirect_uri")) if application else []
        if known and wish.redirect_uri not in known:
            message = f"the redirect_uri is not registered for this application (422); registered: {', '.join(known)}."
            return message, f"give another --redirect-uri, or correct redirect_uri under {at}"
        if known:
            message = f"{self._title} does not take the scope '{wish.scope}', or the account (422)."
            return message, f"check --scope (or scope under {at}) and --account"
        return f"{self._title} does not take the redirect_uri or the scope (422).", "check --redirect-uri and --scope"


def _texts(value: object) -> list[str]:
    """Typed as a text and sampled as a list, so both are taken."""
    items = value if isinstance(value, list) else [value]
    return [_shown(item) for item in items if isinstance(item, str)]


def _read(exchange: Exchange, body: bytes, *, hidden: str | None) -> Answer:
    answer = exchange.answer
    text = body.decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = text
    document = found if isinstance(found, dict) else None
    words = found.get("message") if isinstance(found, dict) else found
    shown = _shown(words) if isinstance(words, str) else ""
    ids = [value.decode("latin-1") for name, value in answer.headers if name.lower() == b"x-request-id"]
    return Answer(
        answer.status,
        document,
        shown.replace(hidden, "***") if hidden else shown,
        _shown(ids[0]) if ids else None,
    )


def _shown(text: str) -> str:
    """A broker's text on one line of a terminal."""
    return "".join(char if char.isprintable() else " " for char in text.strip())[:_LONGEST_WORDS]
