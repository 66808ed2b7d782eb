"""Tradier's own faults, besides those that all simulators share (see `front.py`)."""

from proxy.simulator import front
from proxy.simulator.faults import Faults
from proxy.simulator.listener import TEXT, Answer
from proxy.simulator.tradier.answers import (
    DATASTORE_ERROR,
    EXPIRED_TOKEN,
    INVALID_TOKEN,
    SCOPE_MISSING,
    TOO_BIG,
    WRONG_ENVIRONMENT,
)

REJECTED = "You do not have enough buying power for this trade"  # documented: InitialMargin

_TOKEN = {
    "token-400-apigee": "400, ErrorCode invalid_request (refused)",
    "token-401-client": "401, ErrorCode invalid_client (refused)",
}
_API = {
    "api-401-invalid": "401, fault Invalid Access Token (refused)",
    "api-401-expired": "401, fault Access Token expired (refused)",
    "api-500-expired": "500, fault Access Token expired, as one public client's tests have it (refused)",
    "api-401-apiproduct": "401, fault of a token of the other environment (refused)",
    "api-403-scope": "403, fault InsufficientScope (refused)",
    "api-404-temporary": "404, which passes (refused)",
    "api-429": "429, `Quota Violation`, with the rate limit headers (refused)",
    "api-500-datastore": "500, fault Datastore Error, which passes (refused)",
    "api-500-too-big": "500, fault TooBigBody (refused)",
    "api-502": "502 page (refused)",
}
_ORDER = {"order-200-error": "200 with an error about buying power (refused: no order is kept or changed)"}

# Apigee's general form; what Tradier's OAuth endpoints answer is not known.
BAD_CODE = Answer(400, b'{"ErrorCode":"invalid_request","Error":"Invalid Authorization Code"}', "application/json")
BAD_REFRESH = Answer(400, b'{"ErrorCode":"invalid_request","Error":"Invalid Refresh Token"}', "application/json")
BAD_CLIENT = Answer(401, b'{"ErrorCode":"invalid_client","Error":"Client credentials are invalid"}', "application/json")

REFUSALS = {
    "token-400-apigee": BAD_CODE,
    "token-401-client": BAD_CLIENT,
    "api-401-invalid": INVALID_TOKEN,
    "api-401-expired": EXPIRED_TOKEN,
    "api-500-expired": Answer(500, EXPIRED_TOKEN.body, "application/json"),
    "api-401-apiproduct": WRONG_ENVIRONMENT,
    "api-403-scope": SCOPE_MISSING,
    "api-404-temporary": Answer(404, b"Not Found", TEXT),
    "api-500-datastore": DATASTORE_ERROR,
    "api-500-too-big": TOO_BIG,
    "api-502": Answer(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html"),
}


def catalogue() -> Faults:
    """All faults of Tradier, none armed."""
    return front.catalogue(streaming=True, token=_TOKEN, api=_API, order=_ORDER)
