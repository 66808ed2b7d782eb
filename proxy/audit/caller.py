"""Who asks for what a task does. Light: the command line imports it with every command."""

from contextvars import ContextVar

# `uid 1000` over the admin socket, `console`, `signal`; not set: the user that this process is of.
caller: ContextVar[str] = ContextVar("caller")
