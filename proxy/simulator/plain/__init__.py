"""A broker that a YAML file describes: its login, where its credential goes, and the calls that it answers.

`reading.py` makes a `setup.Setup` of the file, `broker.py` puts the broker together. `login.py` is the login page and
the token endpoint over `tokens.py` (who holds which tokens); `api.py` is what every call passes, with `credentials.py`
looking for the credential in the one place where it belongs. `examples/schwab-simulator.yaml` shows every key.
"""
