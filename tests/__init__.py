"""A package by name: else one that a broker client installs as `tests` would come first in `python -m tests.…`."""
