"""The box that values of set-aside rows are sealed in: AES-256-GCM under a key of its own, derived from the service's secret key.

Workers are given this derived key, and not the secret key itself, which opens the passwords in the metadata. What is sealed is bound to the
record and column that it belongs to. Names of records are made with a third key: they don't tell what they were made from.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256

from headwater.domain.errors import HeadwaterError

_VERSION = b"\x01"
_NONCE_BYTES = 12


def row_key(secret_key: bytes) -> str:
    """The key for set-aside rows, as text for an order."""
    return hmac.new(secret_key, b"headwater set-aside rows", sha256).hexdigest()


class RowSeal:
    """`Seal` under a key made by `row_key`."""

    def __init__(self, key: str) -> None:
        self._name_key = hmac.new(key.encode(), b"names", sha256).digest()
        self._value_key = hmac.new(key.encode(), b"values", sha256).digest()

    def name(self, *parts: bytes) -> str:
        """See `Seal.name`."""
        told = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.new(self._name_key, told, sha256).hexdigest()[:32]

    def seal(self, plain: bytes, place: str) -> bytes:
        """See `Seal.seal`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + AESGCM(self._value_key).encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """See `Seal.open`."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            if sealed[:1] == _VERSION:
                return AESGCM(self._value_key).decrypt(nonce, rest, place.encode())
        except (InvalidTag, ValueError):
            pass
        raise HeadwaterError(
            f"The set-aside row {place} was sealed with another secret key, or changed from outside. Put back the secret key that belongs "
            "to this service, or remove the row from headwater.dirty_row at the target and reset the task without a time.",
            kind="dirty_unreadable",
        )
