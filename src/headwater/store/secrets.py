"""Encryption of single cells: AES-256-GCM with the key's id in front and the cell's place as associated data.

The place (table, column, row id) is authenticated but not stored: a cell that was copied into another row or column does not
decrypt, so nobody who can write to the database can make us use one connection's password for another server.
"""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from headwater.store.errors import StoreError

KEY_BYTES_MIN = 32
_VERSION = b"\x01"
_ID_BYTES = 4
_NONCE_BYTES = 12


class SecretBox:
    """Seals and opens cells with one secret key of at least 32 bytes.

    A sealed cell is: version (1 byte), key id (4), nonce (12), ciphertext with its tag.
    """

    def __init__(self, secret_key: bytes) -> None:
        if len(secret_key) < KEY_BYTES_MIN:
            raise StoreError(f"The secret key has {len(secret_key)} bytes; it needs at least {KEY_BYTES_MIN}.", kind="store_key")
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"headwater metadata cells").derive(secret_key)
        self._aead = AESGCM(derived)
        self._id = hashlib.sha256(derived).digest()[:_ID_BYTES]

    def seal(self, plain: bytes, place: str) -> bytes:
        """Encrypt a cell for its place, e.g. `data_sources.secrets.<id>`."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + self._id + nonce + self._aead.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Decrypt a cell. Raises StoreError (`store_key`) for another key, another place, or a changed cell."""
        start = len(_VERSION) + _ID_BYTES
        version, key_id, nonce = sealed[:1], sealed[1:start], sealed[start : start + _NONCE_BYTES]
        if version != _VERSION:
            raise StoreError(f"The encrypted cell {place} has an unknown format; it was changed from outside.", kind="store_key")
        if key_id != self._id:
            raise StoreError(
                f"The cell {place} was encrypted with key {key_id.hex()}, but the secret key at hand is {self._id.hex()}; "
                "put back the secret key file that belongs to this metadata.",
                kind="store_key",
            )
        try:
            return self._aead.decrypt(nonce, sealed[start + _NONCE_BYTES :], place.encode())
        except InvalidTag:
            raise StoreError(
                f"The encrypted cell {place} was changed or moved from outside; enter the secret again.", kind="store_key"
            ) from None
