"""The refusal: one class to derive from, and the form in which a peer's refusal arrives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The kind of a refusal. The names are the canonical status codes."""

    CANCELLED = "the work was cancelled"
    INVALID_ARGUMENT = "the request is wrong, whatever the state"
    NOT_FOUND = "there is no such thing, for this caller"
    ALREADY_EXISTS = "there is such a thing already"
    PERMISSION_DENIED = "this caller may not"
    UNAUTHENTICATED = "no valid token"
    RESOURCE_EXHAUSTED = "a limit is reached"
    FAILED_PRECONDITION = "not in this state; change the state first"
    ABORTED = "another call was first; read again and decide anew"
    OUT_OF_RANGE = "past the end"
    UNAVAILABLE = "try again"
    DEADLINE_EXCEEDED = "not in time"
    DATA_LOSS = "stored data is damaged"
    INTERNAL = "a bug"


@dataclass(frozen=True)
class Violation:
    """One condition that does not hold: its reason, the blocking resource, and a description."""

    reason: str
    resource: str
    description: str


@dataclass(frozen=True)
class FieldViolation:
    """One field of the request that breaks its rule; `field` is its path, like `disks[0].size_bytes`."""

    field: str
    description: str


class Refusal(Exception):
    """An error that the caller can understand and act on. Derive a class for each; facts are keywords.

    `message` is a format string over the facts. `in_the_way` names the fact that holds the blocking
    resource. `rule` is the number of the rule that the refusal keeps, `R15`; empty when it keeps
    none.
    """

    kind: Kind = Kind.FAILED_PRECONDITION
    reason: str = ""
    rule: str = ""
    message: str = ""
    in_the_way: str = ""
    retry_seconds: float | None = None

    def __init__(
        self, *, violations: Sequence[Violation] = (), fields: Sequence[FieldViolation] = (), **facts: object
    ) -> None:
        self.facts: dict[str, str] = {key: str(value) for key, value in facts.items()}
        self.fields = tuple(fields)
        self._violations = tuple(violations)
        super().__init__(self.message.format_map(self.facts))

    @property
    def text(self) -> str:
        """The sentence for people."""
        return str(self)

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Every condition that does not hold, this refusal's own first."""
        if self._violations or self.kind is not Kind.FAILED_PRECONDITION:
            return self._violations
        return (self.violation(),)

    def violation(self) -> Violation:
        """This refusal as one condition among several."""
        return Violation(self.reason, self.facts.get(self.in_the_way, ""), self.text)

    def metadata(self) -> dict[str, str]:
        """The metadata of the ErrorInfo: the facts and the rule."""
        return self.facts | ({"rule": self.rule} if self.rule else {})


class RemoteRefusal(Refusal):
    """A peer's refusal, as it arrived. Recognise it by its `reason`."""

    def __init__(
        self,
        kind: Kind,
        reason: str,
        text: str,
        *,
        domain: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        fields: Sequence[FieldViolation] = (),
        retry_seconds: float | None = None,
    ) -> None:
        self.kind = kind
        self.reason = reason
        self.domain = domain
        self.message = text.replace("{", "{{").replace("}", "}}")
        self.retry_seconds = retry_seconds
        super().__init__(violations=violations, fields=fields)
        # Not by keyword as for a local refusal: a peer's fact may have any name, even `fields`.
        self.facts = dict(metadata or {})
        self.rule = self.facts.get("rule", "")

    def violation(self) -> Violation:
        """The first violation that the refusal arrived with: only it names the resource."""
        return self._violations[0] if self._violations else super().violation()


def all_of(refusals: Sequence[Refusal]) -> Refusal:
    """Join refusals: the first, with every one as a violation.

    `refusals` must not be empty.
    """
    first = refusals[0]
    first._violations = tuple(refusal.violation() for refusal in refusals)
    return first
