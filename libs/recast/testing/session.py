"""Ownership of containers, networks and volumes: labels name the process that made them, and the stack.

Testcontainers' own reaper is an image from a registry. Here a process removes its own objects when it ends,
and the next process removes those of a killed one.
"""

import atexit
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.docker_client import DockerClient

_PREFIX = "recast.testing"
_STACK, _FOLDER = f"{_PREFIX}.stack", f"{_PREFIX}.folder"
_FOLDER_PREFIX = "recast-testing-"
_folders: list[Path] = []  # of this process
testcontainers_config.ryuk_disabled = True


@cache
def begin_session() -> None:
    """Removes objects of dead processes, and registers the cleanup at exit; once a process."""
    remove_leftovers()
    atexit.register(_end_session)


def _end_session() -> None:
    _remove(dict(_identity()))
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)


def new_folder() -> Path:
    """A folder for the files of a stack's containers, removed with the stack or with this process."""
    _folders.append(Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX)))
    return _folders[-1]


def labels_of(stack: str, folder: Path) -> dict[str, str]:
    """The labels of a stack's objects."""
    return dict(_identity()) | {_STACK: stack, _FOLDER: str(folder)}


def remove_stack(stack: str, folder: Path) -> None:
    """Removes all objects of a stack, in any state."""
    _remove({_STACK: stack})
    shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers() -> None:
    """Removes objects of ended processes of this machine."""
    dead = set()
    with engine() as client:
        for each in _all(client, {_STACK: ""}):
            labels = _labels(each)
            if _is_dead(labels):
                dead.add(labels[_STACK])
    for stack in dead:
        _remove({_STACK: stack})


@contextmanager
def engine() -> Iterator[Any]:
    """A connection to the engine, closed after the block."""
    client: Any = DockerClient().client
    try:
        yield client
    finally:
        client.close()


@cache
def _identity() -> Mapping[str, str]:
    """Identifies this process by id and start time: an id alone may be reused."""
    return {
        f"{_PREFIX}.machine": socket.gethostname(),
        f"{_PREFIX}.boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        f"{_PREFIX}.namespace": os.readlink("/proc/self/ns/pid"),
        f"{_PREFIX}.process": str(os.getpid()),
        f"{_PREFIX}.started": _started(os.getpid()),
    }


def _started(process: int) -> str:
    """The start time of a process, in the kernel's ticks; empty when there is none."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _is_dead(labels: Mapping[str, str]) -> bool:
    """Whether the process that made an object has ended; False if that cannot be determined here."""
    own = _identity()
    machine, boot, namespace, process, started = (labels.get(name, "") for name in own)
    here = list(own.values())
    if machine != here[0]:
        return False
    if boot != here[1]:
        return True
    return namespace == here[2] and process.isdigit() and _started(int(process)) != started


def _all(client: Any, wanted: Mapping[str, str]) -> Iterator[Any]:
    """Containers first: they hold the others."""
    chosen = {"label": [f"{name}={value}" if value else name for name, value in wanted.items()]}
    yield from client.containers.list(all=True, filters=chosen, ignore_removed=True)
    yield from client.networks.list(filters=chosen)
    yield from client.volumes.list(filters=chosen)


def _labels(thing: Any) -> Mapping[str, str]:
    found: Mapping[str, str] = (thing.labels if hasattr(thing, "labels") else thing.attrs.get("Labels")) or {}
    return found


def _remove(wanted: Mapping[str, str]) -> None:
    folders = set()
    with engine() as client:
        for each in list(_all(client, wanted)):
            folders.add(Path(_labels(each)[_FOLDER]))
            # Another process may remove it at the same time.
            with suppress(NotFound, APIError):
                _remove_one(each)
    for folder in folders:
        if folder.name.startswith(_FOLDER_PREFIX):
            shutil.rmtree(folder, ignore_errors=True)


def _remove_one(thing: Any) -> None:
    if thing.collection.__class__.__name__ == "ContainerCollection":
        thing.remove(force=True, v=True)
    else:
        thing.remove()
