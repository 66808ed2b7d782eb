"""Answers of the console: texts, pages, redirects, and the headers that guard them."""

from http import HTTPStatus

from aiohttp import web

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
ALL_HEADERS = {
    "Server": "bearerd",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"


def text(words: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(status=status, text=words + "\n", headers={"Content-Type": _TEXT})


def page(markup: str, status: HTTPStatus = HTTPStatus.OK, *, forms: bool = False) -> web.Response:
    """A page; one with `forms` tells itself where it came from: without that a form is sent with `Origin: null`."""
    response = web.Response(status=status, text=markup, headers={"Content-Type": _HTML} | PAGE_HEADERS)
    if forms:
        response.headers["Referrer-Policy"] = "same-origin"
    return response


def see_other(location: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location} | PAGE_HEADERS)


def none_here() -> web.Response:
    return text("There is no such page.", HTTPStatus.NOT_FOUND)


def of_method(request: web.BaseRequest, *methods: str) -> web.Response | None:
    """None if the request's method is one of `methods`, else the refusal."""
    if request.method in methods:
        return None
    response = text(f"Only {' and '.join(methods)} here.", HTTPStatus.METHOD_NOT_ALLOWED)
    response.headers["Allow"] = ", ".join(methods)
    return response
