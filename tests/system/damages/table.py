"""The table of damages, and how a damage is entered into it."""

from collections.abc import Callable
from dataclasses import dataclass

from recast.doctor import Code
from tests.system.patient import Patient

Inflict = Callable[[Patient], None]


@dataclass(frozen=True)
class Damage:
    """A damage to an installation: the doctor must find its codes, and no others."""

    name: str
    relation: str
    """The relation that it breaks, of the doctor's RELATIONS.md."""
    inflict: Inflict
    codes: frozenset[Code]
    problems: int
    """The number of problems; 0 for any."""
    deep: bool
    at_rest: bool


DAMAGES: list[Damage] = []


def damage(
    relation: str, *codes: Code, deep: bool = False, at_rest: bool = True
) -> Callable[[Inflict], Inflict]:
    """Enters a function into the list, by its name. `codes` are the first the relation's own."""

    def enter(inflict: Inflict) -> Inflict:
        DAMAGES.append(
            Damage(inflict.__name__.strip("_"), relation, inflict, frozenset(codes), 0, deep, at_rest)
        )
        return inflict

    return enter


def rows(relation: str, code: Code, *statements: str) -> None:
    """Enters damages that are nothing but SQL, each of them one problem: `service: statement`."""

    def inflict(patient: Patient) -> None:
        for statement in statements:
            service, _, sql = statement.partition(": ")
            patient.sql(service, sql)

    DAMAGES.append(
        Damage(statements[0], relation, inflict, frozenset({code}), len(statements), deep=False, at_rest=True)
    )
