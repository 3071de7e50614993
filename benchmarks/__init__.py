"""Benchmarks: ``python -m benchmarks``. What is measured and how: docs/performance.md.

In ``questions/`` each file asks one question. A question makes cases; a case is a list of contenders (the library, the
bare loop that no library could beat, and peers) that the harness runs in turn, round after round, in one process.
"""
