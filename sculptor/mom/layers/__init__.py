"""Modules: the Mixture-of-Memories mixer, its per-token oracle, windowed attention, the MLP.

A layer sees packed tokens ``[N, d]`` with ``cu_seqlens`` and a state of constant size, and returns
the new state; it never changes the one it was given.
"""
