"""Headwater: self-hosted data integration with a reset."""

__version__ = "0.1.0"
