"""What an operator sees and does in a browser, and what machines ask of a server: page, health, metrics.

`server.py` is the listener: who may look (Host, Origin, token, cookie) and what lies under which path; `session.py`
knows the browsers that were let in, and `room.py` serves them. `page.py` turns the status into HTML with the templates
beside it, `live.py` sends what has changed. `acts.py` says what can be done, `forms.py` reads a form, `actions.py` has
it done by way of `view.py`, which is all that the console knows of the server.

`recent.py`, `charts.py` and `snippets.py` are the parts about the past, and about connecting a program.
"""
