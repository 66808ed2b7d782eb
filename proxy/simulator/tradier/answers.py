"""How Tradier writes: XML by default, JSON on request, lists that are objects or `"null"`, errors of three kinds."""

import json
from xml.sax.saxutils import escape

from proxy.simulator.listener import TEXT, Answer

JSON = "application/json;charset=UTF-8"
XML = "application/xml;charset=UTF-8"
NULL = "null"  # an empty list, as a string (documented samples)


class Mistake(Exception):
    """A call that Tradier answers with a status and a line of plain text (documented for 400)."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.answer = Answer(status, text.encode(), TEXT)


class Rejected(Exception):
    """An order that was understood and not taken: 200 with `{"errors": {"error": [text]}}`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.document = {"errors": {"error": [text]}}


def several(outer: str, inner: str, items: list[object]) -> dict[str, object]:
    """A list as Tradier writes it: the string `null`, one object, or a list of objects."""
    if not items:
        return {outer: NULL}
    return {outer: {inner: items[0] if len(items) == 1 else items}}


def rendered(document: object, accept: str | None) -> Answer:
    """The answer of a call: JSON only if `Accept` names it (documented), whatever else it names."""
    if accept is not None and "application/json" in accept.lower():
        return Answer(200, json.dumps(document, separators=(",", ":")).encode(), JSON)
    return Answer(200, f'<?xml version="1.0" encoding="UTF-8"?>{_xml(document)}'.encode(), XML)


def fault(status: int, text: str, code: str) -> Answer:
    """An error of the gateway before the API, which is Apigee: JSON whatever was asked for."""
    body = {"fault": {"faultstring": text, "detail": {"errorcode": code}}}
    return Answer(status, json.dumps(body, separators=(",", ":")).encode(), "application/json")


def _xml(document: object) -> str:
    if isinstance(document, dict):
        return "".join(_element(str(name), value) for name, value in document.items())
    return f"<items>{_element('item', document)}</items>"  # a list at the top, as the fundamentals have


def _element(name: str, value: object) -> str:
    if isinstance(value, list):
        return "".join(_element(name, each) for each in value)
    if isinstance(value, dict):
        return f"<{name}>{_xml(value)}</{name}>"
    if value is None:
        return f"<{name}/>"
    return f"<{name}>{escape(str(value).lower() if isinstance(value, bool) else str(value))}</{name}>"


# Texts and codes as observed in public clients; the status of an expired token is Apigee's usual one.
INVALID_TOKEN = fault(401, "Invalid Access Token", "keymanagement.service.invalid_access_token")
EXPIRED_TOKEN = fault(401, "Access Token expired", "keymanagement.service.access_token_expired")
WRONG_ENVIRONMENT = fault(
    401,
    "Invalid API call as no apiproduct match found",
    "keymanagement.service.InvalidAPICallAsNoApiProductMatchFound",
)
DATASTORE_ERROR = fault(500, "Datastore Error", "steps.servicecallout.ExecutionFailed")
# Body and status of these are not known; they are what Apigee answers in general.
TOO_BIG = fault(500, "Body buffer overflow", "protocol.http.TooBigBody")
SCOPE_MISSING = fault(403, "Required scope(s) are missing", "steps.oauth.v2.InsufficientScope")
UNKNOWN_PATH = fault(404, "Unable to identify proxy for path", "messaging.adaptors.http.flow.ApplicationNotFound")
WRONG_METHOD = fault(405, "Method not allowed", "messaging.adaptors.http.flow.MethodNotAllowed")
LENGTH_REQUIRED = Answer(411, b"Length Required", TEXT)
