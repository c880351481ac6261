"""Checks that a disk can be restored."""

from contextlib import closing
from dataclasses import dataclass

from .chunk import largest_chunk_object
from .errors import ChunkCorrupt, ChunkMissing, IndexCorrupt, IndexMissing, ObjectUnfit
from .index import DiskIndex, IndexRef
from .pipeline import in_order
from .project_objects import ProjectObjects
from .source import Progress


@dataclass(frozen=True, slots=True)
class DiskProblem:
    """One object of a disk that is missing or wrong."""

    name: str
    """The object's name in the store."""
    position: int | None
    """The first chunk position that needs it; None for the index."""
    reason: str


def verify_disk(
    store: ProjectObjects, ref: IndexRef, *, deep: bool, progress: Progress | None
) -> list[DiskProblem]:
    """Return the problems of a disk, by position; see ChunkStore.verify_disk."""
    try:
        index = store.load_index(ref)
    except (IndexMissing, IndexCorrupt) as error:
        return [DiskProblem(store.layout.index(ref.id), None, str(error))]

    def problem_at(chunk: tuple[bytes, int]) -> tuple[int, DiskProblem | None]:
        chunk_id, position = chunk
        length = index.length_at(position)
        try:
            _check_chunk(store, chunk_id, length, deep=deep)
        except (ChunkMissing, ChunkCorrupt) as error:
            return length, DiskProblem(store.layout.chunk(chunk_id), position, str(error))
        return length, None

    first_positions = _first_positions(index)
    problems, done = [], 0
    total = sum(index.length_at(position) for position in first_positions.values())
    if progress:
        progress(0, total)
    with closing(in_order(problem_at, first_positions.items(), threads=store.objects.concurrency)) as checked:
        for length, problem in checked:
            if problem:
                problems.append(problem)
            done += length
            if progress:
                progress(done, total)
    return problems


def _first_positions(index: DiskIndex) -> dict[bytes, int]:
    """Return each chunk's first position: a chunk at many positions is checked once."""
    first: dict[bytes, int] = {}
    for position, chunk_id in index.data_chunks():
        first.setdefault(chunk_id, position)
    return first


def _check_chunk(store: ProjectObjects, chunk_id: bytes, length: int, *, deep: bool) -> None:
    if deep:
        store.load_chunk(chunk_id, length)
        return
    name = store.layout.chunk(chunk_id)
    try:
        size = store.objects.size(name)
    except ObjectUnfit as problem:
        raise ChunkCorrupt(f"chunk {problem}") from problem
    if size is None:
        raise ChunkMissing(f"chunk {name}: not in the store")
    if size == 0:
        raise ChunkCorrupt(f"chunk {name}: empty")
    if size > largest_chunk_object(length):
        raise ChunkCorrupt(f"chunk {name}: {size} bytes, too many for {length}")
