"""The embedded journal: the durable, ordered, bounded history of one source."""
