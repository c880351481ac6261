"""Every kind of damage to an installation, done to a copy: for each relation of the doctor's RELATIONS.md."""

from tests.system.damages import contents, hosts, relations, work
from tests.system.damages.table import DAMAGES, Damage

__all__ = ["DAMAGES", "Damage", "contents", "hosts", "relations", "work"]
