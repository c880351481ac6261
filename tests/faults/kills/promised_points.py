"""The steps in the code of the services: each must be reached by some scenario, and so be killed at."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from recast.client import SERVICES, Service

_SERVICES = Path(__file__).resolve().parents[3] / "services"
# Modules whose verb is not their own name.
_VERBS = {"change_os": "(ChangeServerOs|ReinstallServerOs)", "change_power": "(Start|Stop|Reboot)Server"}
# The position of the argument with a step's name.
_NAMED_AT = {"step": 0, "transact": 0, "follow": 2, "_follow": 1}

_LASTING = "only storage that stays broken leads here: test_lasting_io_faults.py"
_CANCELLED_AT_ONCE = "only a cancel before its first step: test_cancels.py"
NOT_KILLED: Mapping[str, str] = {
    "csbs: DeleteBackup/undo:mark": _LASTING,
    "ims: DeleteImage/undo:mark": _LASTING,
    "ecs: DeleteDisk/undo:mark": _LASTING,
    "ecs: DeleteServer/undo:mark": _LASTING,
    "ecs: ThawServer/undo:end": _LASTING,
    "ecs: CreateServers/undo:clear": _LASTING,
    "ecs: CreateServers/clear .*": _LASTING,
    "ecs: (ChangeServerOs|ReinstallServerOs)/undo:disk": _LASTING,
    "ecs: (Start|Stop|Reboot)Server/undo:power": _CANCELLED_AT_ONCE,
    "ecs: DetachDisk/undo:detach": _CANCELLED_AT_ONCE,
}
"""Steps that no scenario reaches, and where they are tested instead."""


def promised() -> dict[str, tuple[Service, re.Pattern[str]]]:
    """Every step in the services' workflows and peers: its name, and the pattern of its points."""
    found = {}
    for service in SERVICES:
        for folder in ("workflows", "peers"):
            for path in sorted((_SERVICES / service / "src" / service / folder).glob("*.py")):
                verb = _VERBS.get(path.stem, path.stem.title().replace("_", ""))
                verb = r"\w+" if folder == "peers" else verb
                for step in _steps(ast.parse(path.read_text())):
                    found[f"{service}: {verb}/{step}"] = (service, re.compile(f"{verb}/{step}:"))
    return found


def unreached(reached: Mapping[Service, Iterable[str]]) -> list[str]:
    """The steps that no point of `reached` belongs to and NOT_KILLED does not list; and entries of NOT_KILLED
    that are no step, or are reached.
    """
    steps = promised()
    never = {
        name
        for name, (service, pattern) in steps.items()
        if not any(pattern.match(point) for point in reached.get(service, ()))
    }
    return sorted(never ^ set(NOT_KILLED))


def _steps(tree: ast.Module) -> Iterator[str]:
    """The names of steps, as regular expressions."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in _NAMED_AT and len(node.args) > _NAMED_AT[called]:
            name = _pattern(node.args[_NAMED_AT[called]])
            if name:
                yield f"{name}:begin" if "follow" in called else name


def _pattern(name: ast.expr) -> str:
    if isinstance(name, ast.Constant):
        return re.escape(str(name.value)).replace(r"\ ", " ")
    if isinstance(name, ast.JoinedStr):
        return "".join(_pattern(part) if isinstance(part, ast.Constant) else ".*" for part in name.values)
    return ""
