"""Measures how fast the receiver keeps events (`python -m bench`), and whether a kill loses any (`bench.crashes`)."""
