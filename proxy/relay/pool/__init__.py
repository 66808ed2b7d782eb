"""Our own connections to brokers: HTTP/1.1 on llhttp, kept ready, and never shared between grants.

`pooled.py` knows which connection serves which call, `pool.py` those of one grant; `connection.py` is one of them.
`dialling.py` and `tunnel.py` open it, `warm.py` ahead of calls; `plainanswer.py` and `reading.py` read what comes over
it, `answer.py` is that; `uploads.py` sends bodies that come in pieces; `deadlines.py` ends what takes too long.
`relay/upstream.py` has the other way, on `aiohttp.ClientSession`, which does without all of this and costs some 50 µs
more for each call.
"""
