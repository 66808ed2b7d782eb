"""Answers of the console, and what guards them. That each answer has them is in `test_server.py`."""

import pytest

from proxy.console import answers
from tests.console.visitor import Browser, Inside


def test_a_page_with_forms_says_where_they_come_from() -> None:
    """To itself; any other page says nothing."""
    shown, formed = answers.page("<p>"), answers.page("<p>", forms=True)
    assert ["no-referrer", "same-origin"] == [each.headers["Referrer-Policy"] for each in (shown, formed)]
    assert shown.headers["Content-Security-Policy"] == formed.headers["Content-Security-Policy"]


def test_a_redirect_is_a_get() -> None:
    """303, whatever led to it."""
    assert (303, "/x/") == (answers.see_other("/x/").status, answers.see_other("/x/").headers["Location"])


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "HEAD", "POST"])
async def test_a_wrong_method_names_the_right_one(browser: Browser, inside: Inside, method: str) -> None:
    """405 with `Allow`, also on the page itself."""
    reply = await browser.send(inside.home, method=method, Cookie=inside.cookie)
    assert (405, "GET") == (reply.status, reply.headers["Allow"])
