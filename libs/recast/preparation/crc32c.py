"""CRC-32C (Castagnoli, RFC 3720 appendix B.4) as the kernel's crc32c() computes it: without inversions.

The standard library has none. Two table lookups per 32 bits make about 50 MB/s, enough for the few MiB of
descriptors in a journal; a library in C would be a dependency for this alone.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

INITIAL: Final = 0xFFFFFFFF
_POLYNOMIAL: Final = 0x82F63B78  # reflected


def crc32c(seed: int, data: bytes) -> int:
    """Return the checksum of `data` continued from `seed`, which is INITIAL or an earlier result."""
    low, high, single = _tables()
    crc = seed
    whole = len(data) // 4
    for word in struct.unpack_from(f"<{whole}I", data):
        crc ^= word
        crc = low[crc & 0xFFFF] ^ high[crc >> 16]
    for byte in data[whole * 4 :]:
        crc = single[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


@cache
def _tables() -> tuple[list[int], list[int], list[int]]:
    """Return the effect on the checksum of the lower and the upper half of a word, and of one byte.

    Made on first use, in a few milliseconds: most disks need no checksum.
    """
    by_distance = [[_shifted(byte) for byte in range(256)]]
    for _ in range(3):
        by_distance.append([by_distance[0][crc & 0xFF] ^ (crc >> 8) for crc in by_distance[-1]])
    single, second, third, fourth = by_distance
    low = [upper ^ lower for upper in third for lower in fourth]
    high = [upper ^ lower for upper in single for lower in second]
    return low, high, single


def _shifted(crc: int) -> int:
    for _ in range(8):
        crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc
