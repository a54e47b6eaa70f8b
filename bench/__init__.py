"""Measures how fast the receiver keeps events, beside a bare answer from the same HTTP server: `python -m bench`."""
