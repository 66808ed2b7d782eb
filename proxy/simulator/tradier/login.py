"""The OAuth part: authorize, which leads to the login page on a host of its own, token and refresh."""

from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from proxy.simulator import authorize
from proxy.simulator.authorize import Asked, Desk, Parameters, Refused, basic_of, form_of, same
from proxy.simulator.front import Front
from proxy.simulator.listener import HTML, TEXT, Answer
from proxy.simulator.tokens import Issued, Tokens
from proxy.simulator.tradier import moments
from proxy.simulator.tradier.faults import BAD_CLIENT, BAD_CODE, BAD_REFRESH
from proxy.simulator.tradier.options import SCOPES, Options

AUTHORIZE_PATH, TOKEN_PATH, REFRESH_PATH = "/v1/oauth/authorize", "/v1/oauth/accesstoken", "/v1/oauth/refreshtoken"
PATHS = frozenset({AUTHORIZE_PATH, TOKEN_PATH, REFRESH_PATH})
PAGE_PATH = "/oauth/authorize"
_NOT_FOUND = Answer(404, b"Not Found", TEXT)
_WRONG_METHOD = Answer(405, b"Method Not Allowed", TEXT)


class Login:
    """The three paths on the REST host, and the page. `page_host` is that of the page, without a slash."""

    def __init__(self, tokens: Tokens, front: Front, options: Options) -> None:
        self._tokens = tokens
        self._front = front
        self._options = options
        self._desk = Desk("Tradier", PAGE_PATH, self._asked, options.now)
        self.page_host = ""

    async def handle(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        """One request for one of `PATHS`."""
        if request.method != ("GET" if path == AUTHORIZE_PATH else "POST"):
            return _WRONG_METHOD.response()
        if path == AUTHORIZE_PATH:
            return self._authorize(dict(parse_qsl(query))).response()
        authorized = self._is_client(request.headers.get("Authorization"))
        redeem = self._exchange if path == TOKEN_PATH else self._refresh
        return await self._front.token(request, lambda form: redeem(form) if authorized else BAD_CLIENT)

    async def page(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request to the host of the login page."""
        path, _, query = request.raw_path.partition("?")
        if path != PAGE_PATH:
            return _NOT_FOUND.response()
        if request.method == "GET":
            return self._desk.page(dict(parse_qsl(query))).response()
        if request.method == "POST":
            return self._desk.decide(await form_of(request)).response()
        return _WRONG_METHOD.response()

    def approve(self, url: str) -> str:
        """Where a browser is sent after its person allowed what the authorize address `url` asks for."""
        return self._desk.approve(authorize.query_of(url, AUTHORIZE_PATH))

    def _asked(self, parameters: Parameters) -> Asked:
        """No response_type and no redirect_uri: the callback is the registered one (documented)."""
        options = self._options
        return authorize.asked(
            parameters,
            client_id=options.client_id,
            callback=options.callback,
            response_types=(),
            names_redirect=False,
            needs_state=True,
            scopes=SCOPES,
            separator=",",
        )

    def _authorize(self, parameters: Parameters) -> Answer:
        try:
            self._asked(parameters)
        except Refused as refused:
            return Answer(400, str(refused).encode(), TEXT)
        return Answer(302, b"", HTML, {"Location": f"{self.page_host}{PAGE_PATH}?{urlencode(parameters)}"})

    def _is_client(self, header: str | None) -> bool:
        found = basic_of(header)
        known = self._options.client_id, self._options.client_secret
        return found is not None and all(same(one, other) for one, other in zip(found, known, strict=True))

    def _exchange(self, form: Parameters) -> dict[str, object] | Answer:
        if form.get("grant_type") != "authorization_code":
            return BAD_CODE
        options = self._options
        asked = self._desk.exchange(form.get("code", ""), options.client_id)
        if asked is None:
            return BAD_CODE
        granted = tuple(scope for scope in asked.scopes if scope in options.scopes)
        now, life = options.now(), options.expires_in
        return self._fields(self._tokens.login(options.client_id, granted, now, life, refreshable=options.partner))

    def _refresh(self, form: Parameters) -> dict[str, object] | Answer:
        if form.get("grant_type") != "refresh_token":
            return BAD_REFRESH
        now, life = self._options.now(), self._options.expires_in
        issued = self._tokens.redeem(form.get("refresh_token", ""), self._options.client_id, now, life)
        return BAD_REFRESH if issued is None else self._fields(issued)

    def _fields(self, issued: Issued) -> dict[str, object]:
        """No `token_type`; scopes come back with blanks between them (documented)."""
        fields: dict[str, object] = {
            "access_token": issued.access,
            "expires_in": self._options.expires_in,
            "issued_at": moments.issued_at(self._options.now()),
            "scope": " ".join(issued.scopes),
            "status": "approved",
        }
        return fields if issued.refresh is None else fields | {"refresh_token": issued.refresh}
