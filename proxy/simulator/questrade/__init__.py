"""Questrade, offline: a login host and two API hosts, each on a port of its own.

`broker.py` puts it together. `login.py` is the login host over `grants.py` (who holds which tokens); `api.py` is what
every API call passes, `calls.py` the 29 calls, over `market.py` (what is traded), `account.py` (what is owned) and
`orders.py` (what is kept). `answers.py` holds the error table, `rates.py` the limits, `moments.py` times.
"""
