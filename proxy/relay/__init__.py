"""There and back: what crosses (`headers.py`), to where (`upstream.py`), and one exchange (`http.py`)."""
