"""What the source and the target adapter of one kind of database say in the same words: statements for comparing.

Sources and targets never know one another, and equal values must have equal texts on both sides; so this stands below both.
"""
