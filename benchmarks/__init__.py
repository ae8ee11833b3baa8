"""Measurements of speed and size: ``python -m benchmarks`` (``make bench``).

Every figure stands beside the baseline that was measured in the same run, round by round in turn,
so that what else the machine does falls on both. Times of a process are CPU time as the kernel
counts it, over all its threads; nothing here is part of the installed package.
"""
