"""An object store whose every durable write reaches a fault point, before and after."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from recast.faultpoints.points import is_active, reach

Store = TypeVar("Store")


class PointedObjects:
    """Wraps the role `recast.chunkstore.Objects`; reads pass through."""

    def __init__(self, objects: Any) -> None:
        self._objects = objects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    def put_new(self, name: str, data: Any) -> bool:
        """Makes an object, unless its name is taken."""
        with _around("put", name):
            made: bool = self._objects.put_new(name, data)
            return made

    def replace(self, name: str, data: Any) -> None:
        """Makes or replaces an object."""
        with _around("replace", name):
            self._objects.replace(name, data)

    def delete(self, names: Sequence[str]) -> None:
        """Deletes objects."""
        with _around("delete", names[0] if names else ""):
            self._objects.delete(names)

    def barrier(self) -> None:
        """Makes all earlier writes durable."""
        with _around("barrier", ""):
            self._objects.barrier()


def pointed(objects: Store) -> Store:
    """The store with fault points if a test uses them, else the store unchanged."""
    return cast("Store", PointedObjects(objects)) if is_active() else objects


@contextmanager
def _around(action: str, name: str) -> Iterator[None]:
    kinds = {"indexes": "index", "chunks": "chunk", "checkpoints": "checkpoint"}
    kind = next((kind for folder, kind in kinds.items() if f"/{folder}/" in name), "")
    point = f"{action} {kind}".strip()
    reach(point)
    yield
    reach(f"{point} done")
