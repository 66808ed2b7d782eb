"""Tells people when something goes wrong: by webhook, or by a command of theirs.

Once a second `sight.py` looks at how things stand, beside all calls; `troubles.py` says what of it has become or ceased
to be a trouble, `denials.py` which guards have said no. `post.py` holds for each hook what is to be told, tries until
it is, and forgets the oldest when too much waits; `webhook.py` and `command.py` do it, `alerts.py` leads. What was told
rests in `alerts.json` of the state directory (`told.py`), so that a restart tells nothing twice.
"""
