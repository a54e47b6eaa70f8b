"""Benchmarks: how fast events are kept (`bench`) and delivered (`bench.deliveries`), and does a kill lose any
(`bench.crashes`)?
"""
