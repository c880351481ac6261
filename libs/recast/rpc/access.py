"""The callers that may call a method."""

from dataclasses import dataclass

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
        return f"{' or '.join(sorted(self.roles))}{services}"


PEOPLE = Access(frozenset({"user", "operator"}))
OPERATORS = Access(frozenset({"operator"}))


def services(*subjects: str) -> Access:
    """For the named services alone."""
    return Access(frozenset({"service"}), frozenset(subjects))


def people_and(*subjects: str) -> Access:
    """For people and the named services."""
    return Access(PEOPLE.roles | {"service"}, frozenset(subjects))
