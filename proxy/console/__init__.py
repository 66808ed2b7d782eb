"""What an operator sees in a browser, and what machines ask of a server: page, health, metrics. All of it read-only.

`server.py` is the listener: who may look (Host, Origin, token, cookie) and what lies under which path. `page.py` turns
the status into HTML with the templates beside it.
"""
