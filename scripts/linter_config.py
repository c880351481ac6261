"""Writes .importlinter: what may import what, by the layers in libs/pyproject.toml and the services.

`--check` writes nothing, and fails where the file is not what it would be.
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / ".importlinter"
# What the domain of a service may not import: whatever does I/O. The libs in it are all but the pure ones.
DOES_IO = (
    "grpc",
    "sqlmodel",
    "sqlalchemy",
    "google",
    "obstore",
    "os",
    "pathlib",
    "socket",
    "subprocess",
    "time",
)
PURE = ("faults", "reservations")
# Libs for those who test with containers: nobody else may need an engine.
CONTAINERS = ("docker", "testcontainers", "recast.testing")


def layers() -> list[list[str]]:
    """The libs, from the highest layer to the lowest."""
    found: list[list[str]] = tomllib.loads((ROOT / "libs/pyproject.toml").read_text())["tool"]["recast"][
        "layers"
    ]
    return found


def services() -> list[str]:
    """The services, by their folders."""
    return sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml"))


def config() -> str:
    """The whole file."""
    libs = [f"recast.{name}" for layer in layers() for name in layer]
    inner = [name for name in libs if name != "recast.testing"]
    text = [
        "# Written by `make linter-config`, of the layers in libs/pyproject.toml and of the services.",
        *_section(
            "importlinter",
            root_packages=[*services(), *libs, "recast.contracts"],
            include_external_packages=True,
        ),
    ]
    for service in services():
        text += _section(
            f"importlinter:contract:{service}",
            name=f"Inside {service.upper()}: __main__, app, handlers, workflows, storage and peers, domain",
            type="layers",
            layers=["__main__", "app", "handlers | settings", "workflows", "storage | peers", "domain"],
            containers=[service],
            exhaustive=True,
        )
    text += _section(
        "importlinter:contract:apart",
        name="Services meet over the wire alone",
        type="independence",
        modules=services(),
    )
    text += _section(
        "importlinter:contract:pure",
        name="The domain does no I/O",
        type="forbidden",
        source_modules=[f"{service}.domain" for service in services()],
        forbidden_modules=[*DOES_IO, *(name for name in libs if name.removeprefix("recast.") not in PURE)],
        allow_indirect_imports=True,
    )
    text += _section(
        "importlinter:contract:libs",
        name="Libs: a layer imports those below it",
        type="layers",
        layers=[" | ".join(f"recast.{name}" for name in layer) for layer in [*layers(), ["contracts"]]],
    )
    text += _section(
        "importlinter:contract:libs-below",
        name="Libs do not know the services",
        type="forbidden",
        source_modules=libs,
        forbidden_modules=services(),
    )
    text += _section(
        "importlinter:contract:containers",
        name="Only recast.testing needs a container engine",
        type="forbidden",
        source_modules=[*services(), *inner],
        forbidden_modules=CONTAINERS,
    )
    return "\n".join(text)


def _section(title: str, **fields: object) -> list[str]:
    lines = [f"[{title}]"]
    for name, value in fields.items():
        if isinstance(value, list | tuple):
            lines += [f"{name} =", *(f"    {each}" for each in value)]
        else:
            lines.append(f"{name} = {value}")
    return [*lines, ""]


def main() -> None:
    """Writes the file, or compares it."""
    if "--check" not in sys.argv:
        TARGET.write_text(config())
    elif TARGET.read_text() != config():
        sys.exit(".importlinter is stale: run `make linter-config`")


if __name__ == "__main__":
    main()
