"""Measures how fast the receiver keeps events (`python -m bench`), how fast they are delivered (`bench.deliveries`), and
whether a kill loses any (`bench.crashes`).
"""
