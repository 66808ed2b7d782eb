"""Which token, and is it fresh? `keeper.py` answers, `renewal.py` renews, `journal.py` never forgets."""
