"""A third of the tests that take too long to run in full at every change."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self, TypeVar
from zlib import crc32

T = TypeVar("T")


@dataclass(frozen=True)
class Third:
    """The part `number`, from 1, `of` so many; by default the whole."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `2/3`; the whole from nothing. ValueError for anything else."""
        if not text:
            return cls()
        number, of = map(int, text.split("/"))
        if not 1 <= number <= of:
            raise ValueError(f"{text!r} is no part: write 1/3, 2/3 or 3/3")
        return cls(number, of)

    def part(self, points: Iterable[T]) -> list[T]:
        """This part of the points, in their order.

        The parts together are all points, and none is empty when there are as many points as parts. They are
        dealt in the order of a hash: points come in rows of equal kinds, of which each third one could be of
        one kind alone.
        """
        there = list(points)
        dealt = sorted(range(len(there)), key=lambda position: crc32(b"%d" % position))
        mine = set(dealt[self.number - 1 :: self.of])
        return [point for position, point in enumerate(there) if position in mine]

    def has(self, name: str) -> bool:
        """Whether a point is in this part, by its name alone: of many, which may differ from run to run."""
        return crc32(name.encode()) % self.of == self.number - 1

    def share(self, count: int) -> int:
        """The part of a number, rounded up."""
        return -(-count // self.of)
