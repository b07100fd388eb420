"""Keys of NATS users: Ed25519 keys, written as NATS writes them.

The seed is the secret of a user; the server's configuration has its public key only. A text is the
base32 of a prefix that tells the kind, the key, and a checksum.
"""

import base64
import binascii
import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_USER, _SEED = 20 << 3, 18 << 3
_SEED_PREFIX = bytes([_SEED | _USER >> 5, (_USER & 31) << 3])
_SEED_TEXT = re.compile(r"(?m)^\s*(S[A-Z2-7]{57})\s*$")
_SEED_BYTES = slice(2, 34)


def public_key(key: Ed25519PrivateKey) -> str:
    """The public key of a user, such as `UABC…`."""
    return _text(bytes([_USER]) + key.public_key().public_bytes_raw())


def seed(key: Ed25519PrivateKey) -> str:
    """The seed of a user's key, such as `SUABC…`."""
    return _text(_SEED_PREFIX + key.private_bytes_raw())


def find_key(text: str) -> Ed25519PrivateKey | None:
    """The key whose seed is a line of the text; None if there is none. Raises ValueError."""
    found = _SEED_TEXT.search(text)
    if found is None:
        return None
    data = base64.b32decode(found[1] + "=" * (-len(found[1]) % 8))
    if binascii.crc_hqx(data[:-2], 0) != int.from_bytes(data[-2:], "little"):
        raise ValueError("the checksum of the seed is wrong")
    return Ed25519PrivateKey.from_private_bytes(data[_SEED_BYTES])


def _text(data: bytes) -> str:
    checksum = binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(data + checksum).decode().rstrip("=")
