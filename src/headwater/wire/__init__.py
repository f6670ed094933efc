"""Bytes to messages. No socket, clock or log, and no import from the rest of the package."""
