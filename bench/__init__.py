"""Benchmarks: the services' hottest paths against the limit of what they are made of, and peers.

`make bench` runs all parts, `make bench PART=relay` one. A figure is the median of alternating
rounds; a ratio compares figures of one run only.
"""
