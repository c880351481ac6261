"""Whether a clone of a Linux system will take itself for the server it was made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from recast.preparation import cloudinit
from recast.preparation.autostart import installed
from recast.preparation.checks import Answer, decide, met, missing, unknown
from recast.preparation.filetree import TolerantTree, read_text
from recast.preparation.kernelline import read_kernel_lines
from recast.preparation.network import addressing_from_yaml
from recast.preparation.report import Verdict
from recast.preparation.syntax import is_true, parse_yaml

_INSTANCE = "/var/lib/cloud/instance"
_SEEDS = "/var/lib/cloud/seed"
_SEEDING = ("nocloud", "nocloud-net")


def new_instance(tree: TolerantTree) -> Answer:
    """Answer whether Cloud-Init will see a new instance, and so make new host keys, names and addresses."""
    if decide(installed, tree).verdict is not Verdict.OK:
        return unknown("Cloud-Init is not installed, or was not found")
    settings = cloudinit.read_settings(tree)
    reasons = [*_cached(tree, settings), *_seeded(tree, settings), *_by_kernel(tree)]
    if reasons:
        return missing("; ".join(reasons))
    return met(f"no instance-id is fixed in /etc/cloud, {_SEEDS} or the kernel's line", by_absence=True)


def _cached(tree: TolerantTree, settings: dict[str, dict[str, Any]]) -> Iterator[str]:
    cache = cloudinit.find_setting(settings, "manual_cache_clean")
    is_there = bool(tree.link(_INSTANCE)) or tree.exists(f"{_INSTANCE}/obj.pkl")
    if cache and is_true(cache[1]) and is_there:
        yield f"{cache[0]} sets manual_cache_clean, and {_INSTANCE} of the source is there"
    deletion = cloudinit.find_setting(settings, "ssh_deletekeys")
    if deletion and not is_true(deletion[1]):
        yield f"{deletion[0]} sets ssh_deletekeys to {deletion[1]}: the host keys of the source stay"


def _seeded(tree: TolerantTree, settings: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the seeds on the disk whose instance-id every clone would take."""
    for folder in _seed_folders(settings):
        if _instance_id(tree, f"{folder}/meta-data"):
            yield f"{folder}/meta-data fixes the instance-id"
    listed = cloudinit.find_datasources(settings)
    names = None if listed is None else listed[1]
    for name, key in (("NoCloud", "meta-data"), ("None", "metadata")):
        for id_key in ("instance-id", "instance_id"):
            found = cloudinit.find_setting(settings, "datasource", name, key, id_key)
            if found and (names is None or name in names):
                yield f"{found[0]} fixes the instance-id of {name}"


def seeded_addresses(tree: TolerantTree) -> Iterator[str]:
    """Yield the network configurations with fixed addresses that a seed on the disk gives to every clone."""
    for folder in _seed_folders(cloudinit.read_settings(tree)):
        path = f"{folder}/network-config"
        if addressing_from_yaml(_read_yaml(tree, path)).has_static:
            yield path


def _seed_folders(settings: dict[str, dict[str, Any]]) -> list[str]:
    """Return the folders of this disk that Cloud-Init takes for a seed of NoCloud."""
    listed = cloudinit.find_datasources(settings)
    if listed is not None and "NoCloud" not in listed[1]:
        return []
    folders = [f"{_SEEDS}/{name}" for name in _SEEDING]
    source = cloudinit.find_setting(settings, "datasource", "NoCloud", "seedfrom")
    if source and re.match(r"(?:file://)?/", str(source[1])):
        folders.append(str(source[1]).removeprefix("file://").rstrip("/"))
    return folders


def _read_yaml(tree: TolerantTree, path: str) -> Any:
    try:
        return parse_yaml(read_text(tree, path) or "")
    except ValueError as error:
        tree.note(f"{path} is not valid YAML: {error}")
        return None


def _instance_id(tree: TolerantTree, path: str) -> bool:
    values = _read_yaml(tree, path)
    return isinstance(values, dict) and bool(values.get("instance-id") or values.get("instance_id"))


def _by_kernel(tree: TolerantTree) -> Iterator[str]:
    for path, words in read_kernel_lines(tree):
        named = [word for word in words if re.match(r"(?:ci\.)?ds=nocloud\S*[;]i(?:nstance-id)?=\S", word)]
        if named:
            yield f"{path} fixes the instance-id: {named[0]}"
            return
