"""Runs: a plan, a folder of records, the runner that fills it, and the figures read out of it."""
