"""Reads Cloud-Init's program and configuration from the files of a Linux system, for the checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from recast.preparation.filetree import TolerantTree, read_text, read_texts
from recast.preparation.syntax import parse_yaml

PROGRAMS = (
    "/usr/bin/cloud-init",
    "/usr/local/bin/cloud-init",
    "/usr/sbin/cloud-init",
    "/opt/bin/cloud-init",
    "/bin/cloud-init",
    "/nix/var/nix/profiles/system/sw/bin/cloud-init",
)
UNIT_DIRECTORIES = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/nix/var/nix/profiles/system/etc/systemd/system",
)
_STORES = ("/nix/store", "/gnu/store", "/ostree/deploy")
_MERGE_DEPTH = 4  # network, ethernets, an interface, its match
_EXTENSIONS = ("/var/lib/extensions", "/etc/extensions")
_NAMED_PROGRAM = re.compile(r"/.*(?:bin|libexec)/cloud-init")
_WORD_ENDS = re.compile(r"[\s'\"=;,]+")


def find_program(tree: TolerantTree) -> str | None:
    """Return the path of Cloud-Init's program, or None: a usual path, or one that a service names."""
    candidates = (*PROGRAMS, *(path for path, _ in named_programs(tree)))
    return next((path for path in candidates if tree.has_content(path)), None)


def named_programs(tree: TolerantTree) -> Iterator[tuple[str, str]]:
    """Yield each path of the program that a unit or an init script names, with the path of the latter."""
    for directory in (*UNIT_DIRECTORIES, "/etc/init.d"):
        for name in tree.names(directory):
            if name.startswith("cloud-init"):
                source = f"{directory}/{name}"
                for line in (read_text(tree, source) or "").splitlines():
                    if not line.lstrip().startswith(("#", ";")):
                        words = (word.lstrip("@-:+!") for word in _WORD_ENDS.split(line))
                        yield from ((word, source) for word in words if _NAMED_PROGRAM.fullmatch(word))


def other_home(tree: TolerantTree) -> str:
    """Return why the program may be at a place that is not read, or ""."""
    for store in _STORES:
        if tree.names(store):
            return f"programs are in {store}, and no service that is read names Cloud-Init there"
    for directory in _EXTENSIONS:
        if tree.names(directory):
            return f"{directory} adds files to /usr when the system starts"
    usual = ("/usr/lib/os-release", "/usr/bin/env", "/usr/lib/systemd", "/usr/bin/sh")
    if not any(map(tree.exists, usual)) and not any(map(tree.names, ("/usr/lib", "/usr/bin", "/usr/sbin"))):
        return "/usr is empty: its files are on a file system that is not read"
    return ""


def read_settings(tree: TolerantTree) -> dict[str, dict[str, Any]]:
    """Return the settings of Cloud-Init's configuration files by path; later files override earlier ones."""
    main = read_text(tree, "/etc/cloud/cloud.cfg")
    texts = {} if main is None else {"/etc/cloud/cloud.cfg": main}
    texts |= read_texts(tree, "/etc/cloud/cloud.cfg.d", (".cfg",))
    settings: dict[str, dict[str, Any]] = {}
    for path, text in texts.items():
        try:
            values = parse_yaml(text)
        except ValueError as error:
            tree.note(f"{path} is not valid YAML: {error}")
            continue
        if isinstance(values, dict):
            settings[path] = values
    return settings


def find_setting(settings: dict[str, dict[str, Any]], *keys: str) -> tuple[str, Any] | None:
    """Return the last file that sets `keys`, each within the one before, and the value; or None."""
    for path, values in reversed(settings.items()):
        value: Any = values
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return path, value
    return None


def find_datasources(settings: dict[str, dict[str, Any]]) -> tuple[str, list[str]] | None:
    """Return the last file that lists datasources, and its list; None if no file does."""
    found = find_setting(settings, "datasource_list")
    if found is None:
        return None
    path, value = found
    names = value if isinstance(value, list) else str(value).strip("[] ").split(",")
    return path, [name for each in names if (name := str(each).strip())]


def lacks_datasource(datasources: list[str]) -> bool:
    """Return whether a list of datasources allows none that gives a clone its data."""
    return set(datasources) <= {"None"}


def find_network(settings: dict[str, dict[str, Any]]) -> tuple[list[str], dict[str, Any]]:
    """Return the files that set a network, and that network, which outranks the platform's."""
    merged: dict[str, Any] = {}
    for values in settings.values():
        if isinstance(values.get("network"), dict):
            merged = _merge(merged, values["network"], _MERGE_DEPTH)
    return [path for path, values in settings.items() if isinstance(values.get("network"), dict)], merged


def _merge(first: dict[str, Any], second: dict[str, Any], depth: int) -> dict[str, Any]:
    """Return both mappings as one, as Cloud-Init merges its files: the second wins, mappings are merged."""
    merged = dict(first)
    for key, value in second.items():
        inner = merged.get(key)
        is_mergeable = depth > 0 and isinstance(inner, dict) and isinstance(value, dict)
        merged[key] = _merge(inner, value, depth - 1) if is_mergeable and isinstance(inner, dict) else value
    return merged


def leaves_network(settings: dict[str, dict[str, Any]]) -> str:
    """Return the file that tells Cloud-Init to leave the network alone, or ""."""
    found = find_setting(settings, "network", "config")
    return found[0] if found and found[1] == "disabled" else ""
