"""The callers that may call a method."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from recast.rpc.identity import Caller


@dataclass(frozen=True)
class Access:
    """The allowed `roles`; for the role `service` also the allowed `subjects`, all if empty."""

    roles: frozenset[str]
    subjects: frozenset[str] = frozenset()

    def admits(self, caller: Caller) -> bool:
        """Whether the caller is allowed."""
        return caller.role in self.roles and (caller.role != "service" or caller.subject in self.subjects)

    def __str__(self) -> str:
        services = f" ({', '.join(sorted(self.subjects))})" if self.subjects else ""
        return f"{' or '.join(sorted(self.roles)) or 'nobody'}{services}"


PEOPLE = Access(frozenset({"user", "operator"}))
OPERATORS = Access(frozenset({"operator"}))
NOBODY = Access(frozenset())


def access_by_method(
    service: str, people: Access, peers: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, Access]]:
    """The access to a gRPC service, and to each of its methods that a peer may call, by their full names.

    `peers` has for each service that is a peer the methods that it may call: a service's key opens no other.
    """
    yield service, people
    for method in {each for methods in peers.values() for each in methods}:
        subjects = frozenset(peer for peer, methods in peers.items() if method in methods)
        yield f"{service}/{method}", replace(people, roles=people.roles | {"service"}, subjects=subjects)
