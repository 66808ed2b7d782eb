"""bearerd: one local address for a person's brokers. This is the map.

The life of one request:

1. `listener.py` takes the connection, `connection.py` is one. A plain read for which everything is at hand takes the
   express lane (`plainhead.py`, `express.py`, `trip.py`): the same questions and the same relay, without a task. Of all
   others aiohttp's C parser reads the head; nothing of a bad one is quoted or logged.
2. `gateway.py` is the whole path on one screen. It asks, in this order:
   `gate/browser.py`   is this a program, and not a web page?      421, 403
   `gate/clients.py`   who is asking?                              401
   `gate/target.py`    what for? mount and path, byte for byte     400, 404
   `gate/scopes.py`    which row of the broker's table, if any?    403
   `gate/halt.py`      has an operator halted it?                  403
   `gate/bodies.py`    what must query and body not say?           403
   `gate/guards.py`    may this order be, and this account?        403
   `gate/fill.py`      what of it is kept here, and put in?        403
   `gate/budget.py`    is there room in the broker's rate limit?   429, after a turn in `pacing.py`
3. `keepers.py` knows the keeper of the grant, and `tokens/keeper.py` lends a token pair: access token and the one
   origin that it may go to, of one generation. If none is fresh, one flight renews it for everybody (see below).
4. `relay/http.py` sends the matched bytes over a connection of `relay/pool/`, which looks at the origin once more
   before `relay/credential.py` writes the one credential. A 401 that speaks of the token renews it, and at most one
   repeat follows.
5. `relay/headers.py` and `relay/answerhead.py` say what crosses; the answer streams back. A refusal is rendered by
   `errors.py`.
6. `audit/` gets one record, whatever the outcome. Of a call that changes something there are two (`audit/calls.py`):
   its intent is durable before the first byte leaves, its outcome before the first byte of the answer does.

The life of one socket: `gateway.py` asks the same questions and hands it to `streams/entrance.py`; whoever has no key
in its head says who it is in its first frame (`streams/dialects.py`). `relay/dialling.py` opens the broker's socket,
`streams/relayed.py` carries frames both ways. Alpaca's market data (`streams/alpaca/`) and Questrade's ports
(`streams/questrade/`) share one socket at the broker among all clients. `streams/register.py` ends what may not go on,
HTTP streams too. What an answer says of where a stream goes on, `streams/handover.py` makes ours.

The life of one renewal, in `tokens/`: `renewal.py` gets the right to spend, which is a turn (`lanes.py`) and, where
several servers share the store, a lease (`lease.py`); `stored.py` holds the stored row against the one in hand.
`redemption.py` then goes step by step: `journal.py` takes the intent, `rotation.py` posts, the raw answer is durable
before `answer.py` reads it, and `settlement.py` has it served and committed to `store/` before the journal's slot is
free again. What a kill left in the journal, `resume.py` settles at the next start.

Who else is there: `tokens/members.py` keeps the grants of many users of one application, most of them as no more than
a line on the roster (`roster.py`). `watch.py` looks twice a second at what others have committed:
tokens, client keys, halts (`halts.py`; `halting.py` makes and lifts them). `provenance.py` finds
out that a store is a copy or was set back; `tokens/quarantine.py` then holds its tokens back until a login or
`bearerd adopt` (`adoption.py`).

The life of one login: `authorizations.py` begins it and takes what comes of it; `tokens/login.py` makes the address,
with state and PKCE, and judges the answer that `console/callback.py` or a person brings; `tokens/oauth.py` exchanges
the code, through the same journal as a refresh. `brokers/` says what differs between brokers, as data.

`custody.py` opens journal and store, `doors.py` the listeners, `app.py` puts the rooms together, `cli/` talks to
`admin.py`, `console/` shows how it stands and how it was (`history.py` keeps a day of counts for its charts), and
`simulator/` are brokers to practise against.
"""

__version__ = "0.1.0"
