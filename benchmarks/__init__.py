"""Ours and others' code on the same work, in turn, in one run: `make bench`, or `python -m benchmarks`."""
