"""Measures how long one waits for Parley, beside the same server with one stage after the other; writes the tables of
docs/performance.md.
"""
