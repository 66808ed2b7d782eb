"""Doing things at the console: a form is shown, comes back, is checked, carried out, and leads on to the page.

What can't be done comes back with the reason and with everything that was typed, except for secrets. What needs a
second thought is done only if the form says that somebody had it.
"""

import asyncio
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from proxy.admin import NotPossible
from proxy.console import acts, answers, forms
from proxy.console.forms import Malformed, TooLarge
from proxy.console.page import Pages, context
from proxy.console.session import Session, same
from proxy.console.view import Asking, Problem, View

LEAVE = "log-out"  # ends the session; all other acts are in `acts.ACTS`
CONFIRM = "Confirm it below; nothing has been done yet."
TICK_IT = "This is about real money: tick the box to confirm it. Nothing has been done yet."


class Actions:
    """Serves the forms and takes them. `home` is the path of the page."""

    def __init__(self, view: View, asking: Asking, pages: Pages, home: str) -> None:
        self._view = view
        self._asking = asking
        self._pages = pages
        self._home = home

    async def form(self, name: str, session: Session, query: Mapping[str, str]) -> web.Response:
        """The page of a form, filled with what its address says."""
        return await self._shown(name, session, _typed(query), None)

    async def take(self, name: str, session: Session, request: web.BaseRequest) -> web.Response:
        """Do what a form asks for. It must be whole, and of this session."""
        act = acts.ACTS.get(name)
        if act is None:
            return answers.none_here()
        try:
            form = await forms.read(request)
            if not same(form.pop("csrf", ""), session.csrf):
                return self.refused("It is not of this session, or the page was open for too long.")
            forms.only(form, (*act.fields, "confirmed", "once"))
        except TooLarge as error:
            return self.refused(str(error), HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        except Malformed as error:
            return self.refused(str(error), HTTPStatus.BAD_REQUEST)
        if (place := session.led(form)) is not None:
            return answers.see_other(place)
        typed = _typed(form)
        try:
            answer = await self._carried_out(name, act, form, session)
        except Problem as problem:
            return await self._shown(act.page, session, typed, problem)
        response = self._led_on(act, session, typed, answer)
        session.lead(form, response.headers.get("Location", ""))
        return response

    async def _carried_out(self, name: str, act: acts.Act, form: Mapping[str, str], session: Session) -> dict[str, Any]:
        status = self._view.status()
        if acts.risk(name, form, status) and form.get("confirmed") != acts.confirmation(name, form, status):
            raise Problem(TICK_IT if acts.live(name, form, status) else CONFIRM)
        wish = act.wish(form, status)
        if act.command == "login":
            wish |= {"token": acts.credential(form, self._parts(form["grant"]))}
        answer = await self._asking.do(act.command, wish, session.name)
        if act.command == "login-begin" and "authorize_url" not in answer:
            raise Problem(f"{form['grant']} is not logged in on a page of the broker's; nothing was begun")
        return answer

    def _parts(self, grant: str) -> int:
        """How many parts the credential has that is pasted to log this grant in."""
        return len(acts.pasted(self._asked(grant)))

    def _asked(self, grant: str) -> dict[str, Any]:
        try:
            return self._view.asked(grant)
        except NotPossible as error:
            raise Problem(str(error), error.fix) from None

    def _led_on(
        self, act: acts.Act, session: Session, typed: Mapping[str, str], answer: dict[str, Any]
    ) -> web.Response:
        if act.command == "login-begin":
            return self._to_the_broker(typed["grant"], answer)
        if "key" in answer:
            return answers.see_other(f"{self._home}key/{session.keep_key(answer)}")
        return answers.see_other(f"{self._home}?done={session.note(act.said(typed, answer))}")

    def _to_the_broker(self, grant: str, answer: Mapping[str, Any]) -> web.Response:
        # Browsers hold `form-action` against every redirect that follows a form, and where a broker sends them nobody
        # knows. A page that goes on by itself ends that chain; its address stands in the head only.
        response = answers.page(self._pages.leaving(grant))
        response.headers["Refresh"] = f"0;url={answer['authorize_url']}"
        return response

    async def _shown(
        self, name: str, session: Session, typed: Mapping[str, str], problem: Problem | None
    ) -> web.Response:
        """A form's page with what has been typed, and why it was not done."""
        status, more = self._view.status(), {}
        try:
            more = await self._facts(name, typed)
        except Problem as missing:
            problem = problem or missing
            name = ""
        shown = context(
            status,
            {},
            home=self._home,
            typed=typed,
            problem=problem,
            csrf=session.csrf.reveal(),
            once=secrets.token_urlsafe(12),
            risk=acts.risk(name, typed, status),
            real=acts.live(name, typed, status),
            confirmation=acts.confirmation(name, typed, status),
            concerned=acts.concerned(name, typed, status) if name != "halt" else [],  # there it is still to be chosen
            **more,
        )
        code = problem.status if problem else HTTPStatus.OK
        # A thousand keys take a while to write: calls must not wait for it.
        return answers.page(await asyncio.to_thread(self._pages.form, name or "failed", shown), code, forms=True)

    async def _facts(self, name: str, typed: Mapping[str, str]) -> dict[str, Any]:
        """What a form has to know beside the status. Raises `Problem`."""
        match name:
            case "log-in":
                asked = self._asked(typed.get("grant", ""))
                return {"asked": asked, "pasted": list(zip(acts.PARTS, acts.pasted(asked), strict=False))}
            case "revoke":
                return {"asked": self._asked(typed.get("grant", ""))}
            case "client":
                wish = {"name": typed.get("name", ""), "after": acts.after(typed)}
                (client,) = (await self._asking.do("clients-list", wish))["clients"]
                return {"client": client}
            case _:
                return {}

    def refused(self, why: str, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> web.Response:
        """A form that is not taken."""
        return answers.page(self._pages.refused(why, self._home), status)


def _typed(form: Mapping[str, str]) -> dict[str, str]:
    """What a form is filled with: every field that any has, and never a secret or a confirmation."""
    return {name: form.get(name, "") for name in acts.TYPED}
