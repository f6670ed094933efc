"""Metadata: projects, data sources, tasks, mappings, runs, resets, tokens."""
