"""The audit trail: one record for every call and for every operator's act, chained so that no change goes unnoticed.

`record.py` says what a record is, `chain.py` how records hold on to each other, `trail.py` gets them onto the disk,
`calls.py` and `acts.py` are what the gateway and the operator's commands talk to, `reading.py`, `verify.py` and
`export.py` are for whoever looks. `docs/audit.md` tells people.
"""
