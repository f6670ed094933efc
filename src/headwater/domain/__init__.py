"""Meaning, free of I/O: tables, changes, mappings, merging, task lifecycle, resets, failures.

Nothing in this package opens a socket or a file, reads a clock or logs. "Now" is always an argument.
"""
