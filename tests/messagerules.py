"""What is a message, and what is not: the tables that `tests/messages.py` goes by. Each exemption has its reason."""

import re

# Files without messages of ours: statements for databases, and brokers to practise against, which say what brokers say;
# but for the parts of these that speak to whoever runs them.
LEFT_OUT = re.compile(r"store/postgressql\.py|simulator/(?!plain/(reading|broker)|serve|control|flow|faults)")
# Texts by the name of the argument, or of the function, that they are given to: described, not told.
DESCRIBING = {"help", "epilog", "short_help", "metavar", "description", "headers", "content_type", "prog_name", "title"}
DESCRIBED_BY = {
    "Field", "option", "argument", "cast", "TypeVar", "Struct", "strftime", "compile", "execute", "executemany",
    "fetch", "rows", "_one", "_counter", "_gauge", "_histogram", "GaugeMetricFamily", "CounterMetricFamily",
    "getLogger", "table", "add_section", "search", "findall", "fullmatch", "match", "split", "partition",
    "removeprefix", "removesuffix", "startswith", "endswith", "replace",
}  # fmt: skip
NEWS = {"info", "debug"}
TOLD_WHEN_WELL = {"invocation.say", "current().say", "made.done.append"}
LOGGED = {"debug", "info", "warning", "error", "critical", "exception"}
# Callables that take what is wrong, and then what to do about it.
ADVISED = {
    "Wrong", "Unfit", "Stop", "NotPossible", "Unreadable", "NoAuthority", "Problem", "Refusal", "KeyUnavailable",
    "OutOfUse", "StoreError", "CommandFailed", "problem", "fault", "add", "_say", "_missing", "_denied", "denied",
    "_unknown", "_none", "_error", "matching", "_typed", "Finding", "out_of_use", "_nothing", "Failed",
}  # fmt: skip
STATEMENT = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|BEGIN|PRAGMA|ALTER|DROP|SHOW|WITH|WHERE|GRANT|SET|LISTEN|LOCK TABLE|"
    r"FOR UPDATE|…?\s*(UPDATE|, gone AS|WHERE)|key_id IS|schema = )\b"
)
TECHNICAL = re.compile(
    r"(text|application|image|multipart)/[\w.+-]+(; [\w=-]+)?$|default-src |CONNECT … HTTP|%Y-%m-%d|<!doctype|max-age="
)
WORDS = re.compile(r"[A-Za-z][A-Za-z'-]+")
BETWEEN = re.compile(r"[A-Za-z,.:;…`')] +[A-Za-z`'(…]")

NAMED_FIRST = {"Refusal", "CommandFailed", "_error"}  # they take the name of a kind, and then what is wrong
LABELLED = {"Finding": 2}  # so many words stand before what they say
REMEDY = re.compile(r"fix|advice|remedy", re.IGNORECASE)  # names of what says what to do
IMPERATIVE = re.compile(
    r"(run: |let the user|chmod |make room|raise |restart |use |add |write |put |give |name (?!servers)|remove |"
    r"choose |send |unset |correct |see:? |check |set |--reason TEXT|"
    r"`?bearerd (serve|login|init|resume|store|audit|config|clients|tls|reload|adopt|run|status)\b)"
)

# Exceptions of ours: their texts reach a person, a program or a log.
SPEAKING = {
    "AssertionError", "Broken", "CommandFailed", "ConfigInvalid", "Damaged", "Faulty", "Foreign", "HaltsUnreadable",
    "HandshakeRefused", "Hopeless", "JournalError", "KeyUnavailable", "LoginFailed", "LoginRefused", "Lost",
    "Newer", "NoAuthority", "NoSuchGrant", "NoSuchKey", "NoSuchLoop", "NotCompleted", "NotMigrated", "NotPossible",
    "NotSent", "NotStopped", "NotSwitched", "OutOfUse", "PatternError", "Refusal", "Rejected", "ServerGone",
    "Spoilt", "Stop", "StoreError", "StoreLocked", "TableError", "Failed", "Malformed", "NotSupported", "Problem",
    "TooLarge", "Twice", "Unfit", "UnknownFault", "Unreadable", "UnsafeFile", "UnsafeParser", "Wrong", "WrongKey",
    "WrongKnob", "_Refused",
}  # fmt: skip
# They carry no text: whoever catches them knows what they mean.
SILENT = {"Echoed", "SlowClient", "SocketEnded", "_Moved", "_RepeatedMember"}

# Function (or class, or `*`) of a file → why its texts are no messages.
NOT_SHOWN: dict[tuple[str, str], str] = {
    ("cli/__init__.py", "COMMANDS"): "one line of help for each command",
    ("cli/__init__.py", "HELP"): "the help itself",
    ("cli/init.py", "TEMPLATE"): "a file that is written",
    ("cli/init.py", "_other"): "part of that file",
    ("cli/init.py", "OTHERS"): "part of that file",
    ("cli/init.py", "GRANTS"): "part of that file",
    ("cli/envfiles.py", "*"): "files and shells' commands",
    ("cli/opening.py", "show"): "what the demonstration begins with",
    ("cli/clients.py", "_rendered"): "a table",
    ("cli/clients.py", "_key_row"): "a table",
    ("cli/audit.py", "_carried"): "a table",
    ("cli/scopes.py", "_listed"): "a table",
    ("cli/status.py", "_tight"): "a table",
    ("cli/status.py", "render"): "a table",
    ("cli/tls.py", "LINES"): "what `bearerd tls` says when all went well",
    ("cli/tls.py", "TRUST"): "what `bearerd tls` says when all went well",
    ("cli/tls.py", "show"): "a table",
    ("cli/topics.py", "SCOPES"): "a page to read",
    ("cli/topics.py", "CLIENTS"): "a page to read",
    ("cli/topics.py", "GUARDS"): "a page to read",
    ("cli/topics.py", "BROKERS"): "a page to read",
    ("cli/topics.py", "TROUBLESHOOTING"): "a page to read",
    ("cli/topics.py", "OTHERS"): "a page to read",
    ("cli/topics.py", "_environment"): "a page to read",
    ("cli/topics.py", "_named"): "a page to read",
    ("cli/topics.py", "exit_codes"): "a page to read",
    ("cli/simulate.py", "_print"): "the simulators' addresses",
    ("cli/completion.py", "*"): "lines for a shell",
    ("cli/manpage.py", "*"): "a page to read",
    ("console/languages.py", "*"): "programs to copy",
    ("console/sdks.py", "*"): "programs to copy",
    ("console/snippets.py", "*"): "what to know beside a program to copy",
    ("config/changes.py", "*"): "what a reload has changed",
    ("reloading.py", "_in_files"): "what a reload has changed",
    ("console/charts.py", "*"): "captions",
    ("console/plot.py", "*"): "drawing",
    ("console/recent.py", "_stream"): "a table",
    ("console/acts.py", "_logged_in"): "all went well",
    ("console/acts.py", "_was_halted"): "all went well",
    ("console/acts.py", "_was_resumed"): "all went well",
    ("console/acts.py", "_was_loaded"): "all went well",
    ("history.py", "*"): "captions",
    ("hooks.py", "MAKE_SECRET"): "part of a remedy",
    ("notify.py", "*"): "how it goes, for `systemctl status`",
    ("metrics.py", "*"): "what each metric means",
    ("dials.py", "*"): "what each metric means",
    ("tokens/grant.py", "Event"): "for readers of the code",
    ("tokens/grant.py", "Serving"): "for readers of the code",
    ("tokens/grant.py", "after"): "a fault of ours, of two names",
}
# The same for single texts.
NOT_SHOWN_TEXTS: dict[tuple[str, str], str] = {
    ("config/document.py", text): "what PyYAML says, for which we say something else"
    for text in (
        "mapping values are not allowed",
        "could not find expected ':'",
        "expected <block end>",
        "expected ',' or ']'",
        "expected ',' or '}'",
        "found unexpected end of stream",
        "found unexpected document separator",
        "found undefined tag handle",
        "found unknown escape character",
        "cannot start any token",
        "but found another document",
        "nested too deep",
    )
} | {
    ("cli/ports.py", "\0bearerd reserves …:…"): "a socket's name",
    ("config/load.py", "Library/Application Support/bearerd"): "a place",
    ("cli/config.py", "Would change"): "all went well",
    ("cli/config.py", "Loaded. Changed"): "all went well",
    ("cli/doctor.py", "nothing to mend"): "all is well",
    ("cli/reach.py", "through the egress proxy"): "all is well",
    ("logsink.py", "text is written here"): "click asks for it, and takes it for an answer",
    ("console/templates/console.js", "use strict"): "JavaScript",
    ("cli/reach.py", "HEAD / HTTP/1.1 Host: … Connection: close"): "a request",
    ("store/sqliteschema.py", "schema = ?, store_id = ?, key_id = ?, commits = ?, state = ?, checksum = ?"): "SQL",
    ("cli/invocation.py", "unexpected extra argument"): "what click says, for which we say something else",
    ("connection.py", "Too many headers received"): "what aiohttp says, for which we say something else",
    ("vestibule.py", "longer than"): "what ssl says, for which we say something else",
    ("errors.py", 'bearerd; error=…; details="…"'): "a header",
    ("errors.py", 'Bearer realm="bearerd"'): "a header",
    ("store/connections.py", "no encryption"): "what PostgreSQL says, for which we say something else",
    ("store/connections.py", "SSL required"): "what PostgreSQL says, for which we say something else",
    ("store/connections.py", "during recovery"): "what PostgreSQL says, for which we say something else",
    ("store/connections.py", "permission denied for database"): "what PostgreSQL says, for which we say something else",
    ("store/connections.py", "SSL upgrade"): "what asyncpg says, for which we say something else",
}


# The console's pages that something went wrong on; on the others stands how things are, and how a form is filled in.
TROUBLED_PAGES = {"closed", "done", "failed", "refused"}
CALM_PAGES = {
    "charts", "client", "client-add", "client-remove", "client-rotate", "clients", "connect", "frame", "grants",
    "halt", "key", "leaving", "log-in", "macros", "needs", "recent", "recentrows", "resume", "revoke", "sheet",
    "status", "top",
}  # fmt: skip
