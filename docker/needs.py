"""The files that an image needs of this repository: a project with its libs, and their part of the lock file.

`python docker/needs.py services/csbs FOLDER`, with the standard library alone, writes requirements.lock (the
dependencies at run time), build.lock (the build dependencies) and projects/ (the sources). For the name of a
package instead of the folder of a project it writes that package's part of the lock file. The lock file is
the only source of versions and hashes.
"""

import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

BUILD = ("hatchling",)
# The folders of the projects that a service depends on, by name.
_OWN = {"recast": "libs", "recast-contracts": "libs/contracts"}


def normal(requirement: str) -> str:
    """The name of a requirement, as the lock file spells it: without extras, versions and markers."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    if name is None:
        raise ValueError(f"{requirement!r} names no package")
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def extras_of(requirement: str) -> list[str]:
    """The extras of a requirement like `recast[chunkstore,rpc]`."""
    found = re.search(r"\[(.*?)\]", requirement)
    return [normal(each) for each in found[1].split(",")] if found else []


def projects_of(root: Path, first: str) -> dict[str, set[str]]:
    """The project `first` and every project of ours that it depends on, each with the names that it requires.

    The requirements of extras are included.
    """
    found: dict[str, set[str]] = {}
    waiting: list[tuple[str, list[str]]] = [(first, [])]
    seen = []
    while waiting:
        project, extras = waiting.pop()
        if (project, extras) in seen:
            continue
        seen.append((project, extras))
        described = tomllib.loads((root / project / "pyproject.toml").read_text())["project"]
        optional = described.get("optional-dependencies", {})
        required = [*described["dependencies"], *(each for extra in extras for each in optional[extra])]
        found.setdefault(project, set()).update(map(normal, required))
        waiting += [(_OWN[normal(each)], extras_of(each)) for each in required if normal(each) in _OWN]
    return found


def entries(lock: str) -> Iterator[tuple[str, str, set[str]]]:
    """Each package of a lock file: its name, its lines, and the packages that require it."""
    for entry in re.findall(r"^[a-z0-9].*\n(?:[ \t].*\n)*", lock, flags=re.MULTILINE):
        dependents = re.findall(r"^ +#(?: via)? +([a-z0-9][a-z0-9._-]*)$", entry, flags=re.MULTILINE)
        yield normal(entry), entry, {normal(each) for each in dependents}


def part_of(lock: str, names: Iterable[str]) -> str:
    """The entries of `names`, and of all that they require. ValueError for a name that is not locked."""
    locked = {name: (entry, dependents) for name, entry, dependents in entries(lock)}
    wanted = set(names)
    if missing := wanted - locked.keys():
        raise ValueError(f"not in the lock file: {', '.join(sorted(missing))}")
    while more := {name for name, (_, dependents) in locked.items() if dependents & wanted} - wanted:
        wanted |= more
    return "".join(locked[name][0] for name in sorted(wanted))


def main(first: str, folder: Path) -> None:
    """Writes the needs of the project in the folder `first`, or of the package of that name."""
    root = Path(__file__).resolve().parents[1]
    lock = (root / "requirements.lock").read_text()
    projects = projects_of(root, first) if (root / first).is_dir() else {}
    required = {name for names in projects.values() for name in names} - _OWN.keys()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "requirements.lock").write_text(part_of(lock, required or [first]))
    (folder / "build.lock").write_text(part_of(lock, BUILD if projects else ()))
    for each in projects:
        # libs/contracts is in libs, and is a project by itself.
        beside = shutil.ignore_patterns("contracts" if each == "libs" else "", "__pycache__")
        shutil.copytree(root / each, folder / "projects" / Path(each).name, ignore=beside)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
