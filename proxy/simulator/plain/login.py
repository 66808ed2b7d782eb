"""The login host of a plain broker: its page and its token endpoint, as strict as its setup says."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus

from aiohttp import web

from proxy.simulator.authorize import Asked, Desk, Refused, asked, basic_of, form_of, query_of, same
from proxy.simulator.front import Front
from proxy.simulator.listener import TEXT, Answer
from proxy.simulator.options import Options
from proxy.simulator.plain.setup import Endpoint
from proxy.simulator.tokens import Issued, Tokens

_WRONG_METHOD = Answer(405, b"Method Not Allowed", TEXT)
_BAD_GRANT_TYPE = Answer(400, b'{"error":"unsupported_grant_type"}')

Form = Mapping[str, str]


class Login:
    """The handler of the paths `endpoint.token` and `endpoint.authorize`."""

    def __init__(self, title: str, endpoint: Endpoint, tokens: Tokens, front: Front, options: Options) -> None:
        self._endpoint = endpoint
        self._tokens = tokens
        self._front = front
        self._options = options
        self._desk = Desk(
            title,
            endpoint.authorize,
            self._asked,
            self._now,
            code_life=endpoint.code_life,
            extra=endpoint.redirect,
        )

    def serves(self, path: str) -> bool:
        return path in {self._endpoint.token, self._endpoint.authorize} - {""}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request to a path that it serves."""
        path, _, query = request.raw_path.partition("?")
        match request.method:
            case "POST" if path == self._endpoint.token:
                proof = request.headers.get("Authorization")
                return await self._front.token(request, lambda form: self._redeemed(form, proof))
            case "GET" if path == self._endpoint.authorize:
                return self._desk.page(dict(parse_qsl(query))).response()
            case "POST":
                return self._desk.decide(await form_of(request)).response()
            case _:
                return _WRONG_METHOD.response()

    def approve(self, authorize_url: str) -> str:
        """What a person in a browser does: look, allow, be sent back. ValueError if the page would refuse."""
        if not self._endpoint.authorize:
            raise Refused("this broker has no login page")
        return self._desk.approve(query_of(authorize_url, self._endpoint.authorize))

    def life(self) -> float | None:
        """An access token's, in seconds; None: no end."""
        return None if self._endpoint.expires_in is None else self._options.expires_in

    def _now(self) -> float:
        return self._options.now()

    def _redeemed(self, form: Form, proof: str | None) -> Mapping[str, object] | Answer:
        if not self._proven(form, proof):
            return self._endpoint.bad_client
        client, now = self._endpoint.client_id, self._now()
        match form.get("grant_type"):
            case "authorization_code" if self._endpoint.authorize:
                issued = self._exchanged(form)
            case "refresh_token" if self._endpoint.refresh != "none":
                issued = self._tokens.redeem(form.get("refresh_token", ""), client, now, self.life())
            case "client_credentials" if not self._endpoint.authorize:
                issued = self._tokens.mint(client, tuple(form.get("scope", "").split()), now, self.life())
            case _:
                return _BAD_GRANT_TYPE
        return self._endpoint.dead_token if issued is None else self._fields(issued)

    def _exchanged(self, form: Form) -> Issued | None:
        given = self._desk.exchange(
            form.get("code", ""),
            self._endpoint.client_id,
            # Wanted again, unlike at some brokers: RFC 6749, section 4.1.3.
            redirect_uri=form.get("redirect_uri", ""),
            verifier=form.get("code_verifier"),
        )
        if given is None:
            return None
        refreshable = self._endpoint.refresh != "none"
        return self._tokens.login(given.client_id, given.scopes, self._now(), self.life(), refreshable=refreshable)

    def _proven(self, form: Form, proof: str | None) -> bool:
        """Whether the application has proven itself, in the one place that the setup names."""
        endpoint = self._endpoint
        given = [form.get("client_id", endpoint.client_id), endpoint.client_secret]
        right = proof is None and "client_secret" not in form
        match endpoint.client_auth:
            case "basic":
                # RFC 6749, section 2.3.1: each part is form-encoded first.
                given = [unquote_plus(part) for part in basic_of(proof) or ()]
                right = len(given) == 2 and "client_secret" not in form  # noqa: PLR2004  user and password
            case "form":
                given = [form.get("client_id", ""), form.get("client_secret", "")]
                right = proof is None
            case "none":
                pass
        return right and all(map(same, given, (endpoint.client_id, endpoint.client_secret)))

    def _asked(self, parameters: Form) -> Asked:
        named = parameters.get("redirect_uri", "")
        if named not in (*self._endpoint.redirect_uris, self._options.callback):
            raise Refused("the redirect_uri is not a registered one")
        scopes = self._endpoint.scopes or None
        found = asked(parameters, client_id=self._endpoint.client_id, callback=named, scopes=scopes)
        if self._endpoint.pkce and found.challenge is None:
            raise Refused("code_challenge is missing")
        return found

    def _fields(self, issued: Issued) -> dict[str, object]:
        fields: dict[str, object] = {"access_token": issued.access, "token_type": "Bearer"}
        life = self.life()
        if life is not None:
            fields["expires_in"] = int(life)
        if issued.refresh is not None:
            fields["refresh_token"] = issued.refresh
        return fields | dict(self._endpoint.answer)
