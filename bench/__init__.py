"""Benchmarks: how fast is the bridge beside its peers (`bench`), how fast does it deliver out of a long backlog
(`bench.deliveries`), and does a kill lose any event (`bench.crashes`)?
"""
