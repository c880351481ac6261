"""CRC-32C (Castagnoli, RFC 3720 appendix B.4) as the kernel's crc32c() computes it: without inversions.

The standard library has none, and a library in C would be a dependency for a journal's descriptors alone.
Two lookups per 32 bits make 25 to 50 MB/s. Zeros at the end, most of a commit block, cost 17 steps.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

INITIAL: Final = 0xFFFFFFFF
_POLYNOMIAL: Final = 0x82F63B78  # reflected
_POWERS: Final = 17  # zeros are skipped in runs of 1, 2, 4 ... 65536, the largest block

_Operator = tuple[list[int], list[int], list[int], list[int]]
"""A linear function of a checksum, as what each value of each of its four bytes contributes."""


def crc32c(seed: int, data: bytes) -> int:
    """Return the checksum of at most 128 KiB of `data` continued from `seed`: INITIAL or a result."""
    low, high, single = _tables()
    crc = seed
    content = data.rstrip(b"\0")
    whole = len(content) // 4
    for word in struct.unpack_from(f"<{whole}I", content):
        crc ^= word
        crc = low[crc & 0xFFFF] ^ high[crc >> 16]
    for byte in content[whole * 4 :]:
        crc = single[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    zeros = len(data) - len(content)
    for power, operator in enumerate(_zero_operators()):
        if zeros >> power & 1:
            crc = _applied(operator, crc)
    return crc


def _applied(operator: _Operator, crc: int) -> int:
    first, second, third, fourth = operator
    return first[crc & 0xFF] ^ second[crc >> 8 & 0xFF] ^ third[crc >> 16 & 0xFF] ^ fourth[crc >> 24]


# Both tables are made on first use, in some milliseconds: most disks need no checksum.


@cache
def _tables() -> tuple[list[int], list[int], list[int]]:
    """Return the effect on the checksum of the lower and the upper half of a word, and of one byte."""
    by_distance = [[_shifted(byte) for byte in range(256)]]
    for _ in range(3):
        by_distance.append([by_distance[0][crc & 0xFF] ^ (crc >> 8) for crc in by_distance[-1]])
    single, second, third, fourth = by_distance
    low = [upper ^ lower for upper in third for lower in fourth]
    high = [upper ^ lower for upper in single for lower in second]
    return low, high, single


@cache
def _zero_operators() -> list[_Operator]:
    """Return what a run of zeros of each power of two does to a checksum."""
    single = _tables()[2]
    # One zero: the last byte is looked up, the others move down by one.
    second, third, fourth = ([byte << 8 * at for byte in range(256)] for at in range(3))
    operators: list[_Operator] = [(single, second, third, fourth)]
    while len(operators) < _POWERS:
        half = operators[-1]
        first, second, third, fourth = ([_applied(half, crc) for crc in part] for part in half)
        operators.append((first, second, third, fourth))
    return operators


def _shifted(crc: int) -> int:
    for _ in range(8):
        crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc
