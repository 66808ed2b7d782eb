"""Questrade's stream ports: local ports that stand for the broker's. `streams` hands them out, `door` is entered."""
