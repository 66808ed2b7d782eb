"""A few connections to one PostgreSQL database, and transactions on them that end in time, well or as a `StoreError`.

Nothing is kept in a session between two transactions: no prepared statement, no setting, no lock. So a pooler that
gives each transaction another server connection may stand in between, and a lost connection loses nothing.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import ModuleType
from typing import Any, Protocol

from proxy.dsn import Host
from proxy.secret import Secret
from proxy.store import NotMigrated, StoreError
from proxy.store.address import Address

SECONDS = 5.0  # within which a transaction is done or has failed, the wait for a connection included
SIZE = 4  # connections at most: commits are done one after the other anyway
_STALE_SECONDS = 1.0  # what was idle must begin within: else a firewall has forgotten it, or the server is gone

# Whoever falls silent in the middle gives his locks back: a frozen process must not hold up the others' commits. No
# statement_timeout: it may end the wait for a synchronous standby, and the commit would look as safe as any other.
_LIMITS = "SET LOCAL lock_timeout = '4s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"
# A server that may lose the last commits in a crash is overruled.
_WRITE = f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on; {_LIMITS}"
# A standby may be behind, and refuses to begin a transaction that could write.
_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ, READ WRITE; SET TRANSACTION READ ONLY; {_LIMITS}"

_GRANTS = (
    "let its owner run: GRANT USAGE ON SCHEMA bearerd TO {user}; "
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bearerd TO {user}"
)
_MAY_CREATE = "does not let {user} make tables; let its owner run: GRANT CREATE ON DATABASE {database} TO {user}"
_WORDS = {
    "25006": "is read-only: a standby, or set so by its operator",
    "28P01": "refuses the password of {user}; {password}",
    "28000": "does not let {user} in ({message}); see its pg_hba.conf",
    "3D000": "does not exist; make it with: createdb --owner={user} {database}",
    "42501": "does not let {user} do that ({message}); " + _GRANTS,
    "53100": "has a full disk",
    "53300": "has too many connections",
    "55P03": "is locked by somebody else",
    "57P01": "is shutting down",
    "57P03": "is starting or shutting down",
}
_READ_ONLY, _UNSUPPORTED, _PASSWORD, _ACCESS = "25006", "0A000", "28P01", "28000"
_CLEAR = ("no encryption", "SSL required")  # PostgreSQL's words and PgBouncer's for a connection in the clear
_MISSING = ("3F000", "42P01", "42703")  # a schema, a table, a column


class Connection(Protocol):
    """What a transaction can do."""

    async def fetch(self, sql: str, *values: object) -> Sequence[Sequence[Any]]:
        """All rows."""

    async def execute(self, sql: str, *values: object) -> str:
        """What the server says to it: `UPDATE 1`. Without values `sql` may be several statements."""


class Transaction:
    """One transaction under way. Everything that it does has one time limit together."""

    def __init__(self, raw: Any, limit: asyncio.Timeout) -> None:
        self._raw = raw
        self._limit = limit

    async def fetch(self, sql: str, *values: object) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = await self._raw.fetch(sql, *values)
        return rows

    async def execute(self, sql: str, *values: object) -> str:
        answer: str = await self._raw.execute(sql, *values)
        return answer

    async def rollback(self) -> None:
        """Undo everything, at once; nothing can follow."""
        await self._raw.execute("ROLLBACK")

    def prolong(self) -> None:
        """Start the time limit again: for work of many parts."""
        self._limit.reschedule(asyncio.get_running_loop().time() + SECONDS)


class Connections:
    """At most `SIZE` connections, made when they are needed. `location` names the database in messages."""

    def __init__(self, address: Address, password: Secret | None = None) -> None:
        self.location = address.location
        self._address = address
        self._password = password
        self._slots = asyncio.Semaphore(SIZE)
        self._idle: list[Any] = []  # the one used last is taken first
        self._first = 0  # the host that answered last
        self._resolver = ThreadPoolExecutor(1, "resolver")
        self._closed = False

    @classmethod
    async def at(cls, dsn: str, password: Secret | None = None) -> "Connections":
        """Those to `dsn`; none is made yet. `StoreError` if the address is wrong or the driver is missing."""
        await asyncio.to_thread(_driver)
        return cls(await asyncio.to_thread(Address.parse, dsn), password)

    def reading(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that sees one moment of the primary's, and changes nothing."""
        return self._transaction(_READ)

    def writing(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that is durable when the block has ended without an exception.

        A `StoreError` out of it may have got through all the same, if it came while the commit was out.
        """
        return self._transaction(_WRITE)

    async def close(self) -> None:
        """Close what is idle now, and the rest when it ends. Calling it again does nothing."""
        self._closed = True
        self._resolver.shutdown(wait=False, cancel_futures=True)
        idle, self._idle = self._idle, []
        await asyncio.gather(*(raw.close(timeout=1) for raw in idle), return_exceptions=True)

    @asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator[Transaction]:
        try:
            async with asyncio.timeout(SECONDS) as limit, self._slots:
                if self._closed:
                    raise StoreError(f"{self.location}: the store is closed")
                raw = await self._begin(begin)
                try:
                    yield Transaction(raw, limit)
                    await self._commit(raw)
                except BaseException:
                    raw.terminate()
                    raise
                self._keep(raw)
        except _failures() as fault:
            # The peers in the pool are as doubtful as the one that failed.
            self._drop()
            raise self._explained(fault) from None

    async def _commit(self, raw: Any) -> None:
        if raw.is_in_transaction() and await raw.execute("COMMIT") != "COMMIT":
            raise StoreError(f"{self.location}: the commit was turned into a rollback")

    async def _begin(self, begin: str) -> Any:
        """A connection with a transaction begun: an idle one, unless that was lost meanwhile, or a new one."""
        while self._idle:
            raw = self._idle.pop()
            if raw.is_closed():
                continue
            with contextlib.suppress(*_failures()):
                async with _terminated_if_failed(raw), asyncio.timeout(_STALE_SECONDS):
                    await raw.execute(begin)
                return raw
            self._drop()
        return await self._connect(begin)

    async def _connect(self, begin: str) -> Any:
        """A new connection, to the first host that is up and the primary, starting with the one that was so last."""
        hosts = self._address.hosts
        failure: Exception | None = None
        for turn in range(len(hosts)):
            index = (self._first + turn) % len(hosts)
            try:
                async with asyncio.timeout(SECONDS / len(hosts)):
                    raw = await self._open(hosts[index], begin)
            except _failures() as fault:
                failure = fault
                if _state(fault) in (_PASSWORD, _ACCESS):
                    break
                continue
            self._first = index
            return raw
        assert failure is not None  # noqa: S101  an address has a host
        raise failure

    async def _open(self, host: Host, begin: str) -> Any:
        driver, address = _driver(), self._address
        if self._closed:
            raise StoreError(f"{self.location}: the store is closed")
        if not host.numeric:
            # The driver asks again, in one of the threads that also sync journals. A name service that hangs for half
            # a minute would soon have used up all of them: here it has one.
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._resolver, lambda: socket.getaddrinfo(host.name, host.port))
        context, password = await asyncio.to_thread(self._secured, host)
        raw = await driver.connect(
            host=host.name,
            port=host.port,
            user=address.user,
            database=address.database,
            # Never None: the driver would read files here on the event loop.
            password=lambda: password.reveal() if password is not None else "",
            ssl=context or False,
            timeout=SECONDS,
            statement_cache_size=0,
            server_settings={"application_name": "bearerd"},
            target_session_attrs="any",
        )
        async with _terminated_if_failed(raw):
            if getattr(raw.get_settings(), "in_hot_standby", "off") == "on":
                raise driver.ReadOnlySQLTransactionError("a standby")
            await raw.execute(begin)
        return raw

    def _secured(self, host: Host) -> tuple[ssl.SSLContext | None, Secret | None]:
        return self._address.tls(host), self._password or self._address.stored_password(host)

    def _keep(self, raw: Any) -> None:
        if self._closed or raw.is_closed():
            raw.terminate()
        else:
            self._idle.append(raw)

    def _drop(self) -> None:
        idle, self._idle = self._idle, []
        for raw in idle:
            raw.terminate()

    def _explained(self, fault: BaseException) -> StoreError:
        """What a person is told: one line without a password, and without values out of rows."""
        state, message = _state(fault), self._plain(getattr(fault, "message", None) or str(fault))
        if state == _UNSUPPORTED and "during recovery" in message:  # what a standby calls our way to begin to read
            state = _READ_ONLY
        if any(words in message for words in _CLEAR):
            return StoreError(f"{self.location} takes nobody without TLS; write ?sslmode=verify-full")
        if state in _MISSING:
            return NotMigrated(f"{self.location} lacks tables of bearerd ({message}); run: bearerd store migrate")
        if state is not None:
            address = self._address
            known = _WORDS.get(state, "failed: {message} ({state})")
            if message.startswith("permission denied for database"):
                known = _MAY_CREATE
            password = "correct store_password_file" if self._password else "set store_password_file"
            words = known.format(
                user=address.user, database=address.database, message=message, state=state, password=password
            )
        else:
            words = _words(fault, message)
        return StoreError(f"{self.location} {words}")

    def _plain(self, message: str) -> str:
        line = " ".join(message.split())[:200]
        secrets = [secret.reveal() for secret in (self._password, self._address.password) if secret]
        return "…" if any(secret in line for secret in secrets) else line


@asynccontextmanager
async def _terminated_if_failed(raw: Any) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        raw.terminate()
        raise


def _driver() -> ModuleType:
    """asyncpg, which takes 0.1 s to load and which only the team's store needs. Blocks the first time."""
    try:
        import asyncpg  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise StoreError("a store in PostgreSQL needs asyncpg; run: pip install 'bearerd[postgres]'") from None
    driver: ModuleType = asyncpg
    return driver


def _failures() -> tuple[type[Exception], ...]:
    """What the driver, the network and the server raise. A time limit that ran out is an OSError."""
    driver = _driver()
    return driver.PostgresError, driver.InterfaceError, driver.InternalClientError, OSError, UnicodeError


def _words(fault: BaseException, message: str) -> str:
    """What the network or the driver has to say."""
    if isinstance(fault, TimeoutError):
        return f"did not answer within {SECONDS:.0f} s"
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"has a certificate that is not trusted ({fault.verify_message}); name its CA: ?sslrootcert=FILE"
    if isinstance(fault, ssl.SSLError):
        return f"cannot be reached over TLS ({fault.reason or 'the handshake failed'})"
    if isinstance(fault, ConnectionError) and "SSL upgrade" in message:
        return "has no TLS; switch it on, or write ?sslmode=disable if the network in between is yours alone"
    if isinstance(fault, ConnectionError) and fault.errno:
        message = os.strerror(fault.errno)  # the event loop's own text is a piece of Python
        return f"cannot be reached ({message})"
    if isinstance(fault, OSError):
        return f"cannot be reached ({fault.strerror or message or type(fault).__name__})"
    return f"broke off the conversation ({message or type(fault).__name__})"


def _state(fault: BaseException) -> str | None:
    """The SQLSTATE of what the server refused; None if it was not the server."""
    state = getattr(fault, "sqlstate", None)
    return state if isinstance(state, str) and not state.startswith("08") else None
