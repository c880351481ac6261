"""The files by which a stack on this machine and its clients meet: its endpoints, and requests to restart.

A stack writes its endpoints beside its keys, so that a client that finds the keys finds the services,
whatever their ports. A request to restart a service is an empty file under the root of the stack, which
removes it when the service was started again.
"""

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path

from recast.contracts.services import SERVICES, Service
from recast.faults import Kind, Refusal

_ENDPOINTS = "endpoints.json"


class EndpointsInvalid(Refusal):
    """The file of the endpoints is not what a stack writes."""

    kind = Kind.FAILED_PRECONDITION
    reason = "ENDPOINTS_INVALID"
    message = "{file} cannot be read: {problem}; remove it, and start the stack again, which writes it"


def write_endpoints(keys: Path, endpoints: Mapping[Service, str]) -> None:
    """Writes the endpoints beside the keys. Renamed into place, so that the file is whole or absent.

    On a full disk a file that is there is overwritten where it lies: a stack must start there, too.
    """
    file, text = keys / _ENDPOINTS, json.dumps(dict(endpoints), indent=2)
    new = keys / f"{_ENDPOINTS}.new"
    try:
        new.touch(mode=0o600)
        new.write_text(text)
        os.replace(new, file)
    except OSError as problem:
        new.unlink(missing_ok=True)
        if problem.errno != errno.ENOSPC or not file.exists():
            raise
        with file.open("r+") as old:
            old.write(text)
            old.truncate()


def read_endpoints(keys: Path) -> dict[Service, str]:
    """The endpoints beside the keys; none where no stack wrote them. EndpointsInvalid for a damaged file."""
    file = keys / _ENDPOINTS
    try:
        found = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as problem:
        raise EndpointsInvalid(file=file, problem=problem) from None
    if not isinstance(found, dict) or not all(isinstance(found.get(each), str) for each in SERVICES):
        raise EndpointsInvalid(file=file, problem=f"it lacks {', '.join(SERVICES)}")
    return {service: found[service] for service in SERVICES}


def is_stack_running(root: Path) -> bool:
    """Whether a stack runs on `root`: it locks a file there until its process ends."""
    try:
        with (root / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    return False


def request_restart(root: Path, service: Service) -> Path:
    """Requests the restart of a service; the stack removes the returned file afterwards."""
    request = _request(root, service)
    request.parent.mkdir(mode=0o700, exist_ok=True)
    request.touch(mode=0o600)
    return request


def requested_restarts(root: Path) -> list[Service]:
    """The services whose restart was requested."""
    return [service for service in SERVICES if _request(root, service).exists()]


def end_restart(root: Path, service: Service) -> None:
    """Removes the request, if there is one."""
    _request(root, service).unlink(missing_ok=True)


def _request(root: Path, service: Service) -> Path:
    return root / "restart" / service
