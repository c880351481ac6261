"""The placement of new servers and disks on hosts."""

from collections.abc import Sequence
from dataclasses import dataclass

from ecs.domain.refusals import HostNotFound, HostUnreachable, NoHost


@dataclass(frozen=True)
class Candidate:
    """A host by its last report. `free_bytes` are those of its file system."""

    name: str
    free_bytes: int
    is_alive: bool


def place(count: int, size_bytes: int, hosts: Sequence[Candidate], wanted: str = "") -> list[str]:
    """The host of each of `count` servers whose disks are `size_bytes` together.

    Each goes to the host with the most free bytes, with the full size of every earlier server deducted; among
    equals to the first by name. Only live hosts get servers. `wanted` names one host for all of them.
    """
    if wanted:
        named = next((host for host in hosts if host.name == wanted), None)
        if named is None:
            raise HostNotFound(host=wanted, known=", ".join(sorted(host.name for host in hosts)) or "none")
        if not named.is_alive:
            raise HostUnreachable(host=wanted, hint="name another, or none, to make it elsewhere")
        return [wanted] * count
    left = {host.name: host.free_bytes for host in sorted(hosts, key=lambda host: host.name) if host.is_alive}
    if not left:
        raise NoHost()
    placed = []
    for _ in range(count):
        name = max(left, key=lambda each: left[each])
        left[name] -= size_bytes
        placed.append(name)
    return placed
