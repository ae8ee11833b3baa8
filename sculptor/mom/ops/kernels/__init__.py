"""Triton forms of the functions one floor up, for a GPU; the same arguments, the same answers.

Launch settings are data in `launches`, so a first step costs no search. Nothing here is imported
unless a tensor on a GPU asks for it, and `interpreter` runs every kernel on a CPU for tests.
"""
