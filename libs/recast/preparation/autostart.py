"""Whether Cloud-Init will run when a clone of a Linux system starts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from recast.preparation import cloudinit
from recast.preparation.checks import Answer, decide, met, missing, unknown
from recast.preparation.filetree import TolerantTree, read_text
from recast.preparation.kernelline import DEFAULTS, read_kernel_defaults, read_kernel_lines
from recast.preparation.report import Verdict

DISABLED = "/etc/cloud/cloud-init.disabled"
_DS_IDENTIFY = "/etc/cloud/ds-identify.cfg"
_LOCAL_UNITS = "/etc/systemd/system"
_STAGES = (
    "cloud-init.target",
    "cloud-init-main.service",
    "cloud-init-local.service",
    "cloud-init-network.service",
    "cloud-init.service",
)
_SYSV_LEVELS = ("/etc/rc2.d", "/etc/rc3.d", "/etc/rc5.d", "/etc/rcS.d", "/etc/rc.d/rc3.d")
_GENERATOR = "system-generators/cloud-init-generator"
_VENDOR_ROOTS = ("/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd")
_OFF = re.compile(
    r"cloud-init=disabled|ci\.di\.policy=disabled.*"
    r"|systemd\.mask=cloud-init(?:-local|-main|-network)?(?:\.service|\.target)?"
)


def installed(tree: TolerantTree) -> Answer:
    """Answer whether Cloud-Init's program is there."""
    program = cloudinit.find_program(tree)
    if program is not None:
        return met(f"{program} is there")
    elsewhere = cloudinit.other_home(tree)
    if elsewhere:
        return unknown(elsewhere)
    empty = [path for path in cloudinit.PROGRAMS if tree.read(path) == b""]
    named = sorted({f"{path}, which {source} starts" for path, source in cloudinit.named_programs(tree)})
    searched = f"none of {', '.join([*cloudinit.PROGRAMS[:4], *named[:2]])} is there"
    left = "; /etc/cloud/cloud.cfg is left of it" if tree.exists("/etc/cloud/cloud.cfg") else ""
    return missing(f"{empty[0]} is an empty file" if empty else searched + left, by_absence=True)


def enabled(tree: TolerantTree) -> Answer:
    """Answer whether Cloud-Init runs at boot: what certainly prevents it is MISSING."""
    presence = decide(installed, tree)
    if presence.verdict is Verdict.MISSING:
        return unknown("Cloud-Init is not installed")
    obstacles = [*_switched_off(tree), *_masked(tree), *_not_wanted(tree)]
    lines = read_kernel_lines(tree)
    off = [(path, word) for path, words in lines if (word := _off_word(words))]
    if off and len(off) == len(lines):
        obstacles.append(f"{off[0][0]} starts the kernel with {off[0][1]}")
    if obstacles:
        return missing("; ".join(obstacles))
    if off:
        return unknown(f"{off[0][0]} starts the kernel with {off[0][1]} in some of its entries")
    pending = _off_word(read_kernel_defaults(tree))
    if pending and not lines:
        return unknown(
            f"{DEFAULTS} or /etc/kernel/cmdline has {pending}, and no boot loader's configuration was found"
        )
    if presence.verdict is Verdict.UNKNOWN:
        return unknown(presence.detail)
    return met(
        f"{DISABLED} is not there, and no unit, kernel's line or file under /etc/cloud disables it",
        by_absence=True,
    )


def configures_network(tree: TolerantTree) -> Answer:
    """Answer whether Cloud-Init is installed, enabled, and configures the network."""
    left_by = cloudinit.leaves_network(cloudinit.read_settings(tree))
    lines = read_kernel_lines(tree)
    off = [path for path, words in lines if "network-config=disabled" in words]
    if left_by or (off and len(off) == len(lines)):
        return missing(f"{left_by or off[0]} tells Cloud-Init to leave the network alone")
    running, presence = decide(enabled, tree), decide(installed, tree)
    for answer in (running, presence):
        if answer.verdict is Verdict.MISSING:
            return answer
    if running.verdict is Verdict.UNKNOWN:
        return running
    return met(
        "Cloud-Init configures the network: no file under /etc/cloud tells it otherwise", by_absence=True
    )


def _off_word(words: list[str]) -> str:
    return next((word for word in words if _OFF.fullmatch(word)), "")


def _switched_off(tree: TolerantTree) -> Iterator[str]:
    """Yield the files of Cloud-Init's own configuration that keep it from running."""
    if tree.exists(DISABLED):
        yield f"{DISABLED} is there: Cloud-Init will not run"
    text = "\n".join(line.partition("#")[0] for line in (read_text(tree, _DS_IDENTIFY) or "").splitlines())
    policies = re.findall(r"^[ \t]*policy:\s*[\"']?([a-z]+)", text, re.MULTILINE)
    if policies[-1:] == ["disabled"]:
        yield f"{_DS_IDENTIFY} has the policy disabled"
    sources = re.findall(r"^[ \t]*datasource:\s*[\"']?(\w+)", text, re.MULTILINE)
    if sources[-1:] == ["None"]:
        yield f"{_DS_IDENTIFY} allows no datasource"
    listed = cloudinit.find_datasources(cloudinit.read_settings(tree))
    if listed and cloudinit.lacks_datasource(listed[1]):
        yield f"{listed[0]} allows no datasource"


def _masked(tree: TolerantTree) -> Iterator[str]:
    """Yield the masked units. A mask of a unit that this version does not have has no effect."""
    vendor = {name for root in _VENDOR_ROOTS for name in _STAGES if tree.exists(f"{root}/system/{name}")}
    for name in _STAGES:
        path = f"{_LOCAL_UNITS}/{name}"
        if (name in vendor or not vendor) and _is_mask(tree, path):
            yield f"{path} masks the unit"
    generator = f"/etc/systemd/{_GENERATOR}"
    is_used = any(tree.exists(f"{root}/{_GENERATOR}") for root in _VENDOR_ROOTS)
    if is_used and _is_mask(tree, generator) and "cloud-init.target" not in _wanted(tree):
        yield f"{generator} masks the generator that starts Cloud-Init"


def _is_mask(tree: TolerantTree, path: str) -> bool:
    target = tree.link(path)
    if target is not None:
        return posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) == "/dev/null"
    return tree.read(path) == b""


def _not_wanted(tree: TolerantTree) -> Iterator[str]:
    """Yield why the system's init starts no stage of Cloud-Init, if that is certain."""
    has_systemd = any(tree.exists(f"{root}/systemd") for root in _VENDOR_ROOTS)
    levels = [f"/etc/runlevels/{name}" for name in tree.names("/etc/runlevels")]
    scripts = [name for name in tree.names("/etc/init.d") if name.startswith("cloud-init")]
    problems = len(tree.problems)
    if levels and scripts and not has_systemd:
        if not any(name in scripts for level in levels for name in tree.names(level)):
            yield from _if_all_read(
                tree, problems, f"no runlevel in /etc/runlevels starts /etc/init.d/{scripts[0]}"
            )
        return
    links = [name for level in _SYSV_LEVELS for name in tree.names(level)]
    if links and scripts and not has_systemd and not _unit_names(tree):
        if not any(re.fullmatch(rf"S\d\d(?:{'|'.join(scripts)})", name) for name in links):
            yield from _if_all_read(tree, problems, f"no /etc/rc?.d starts /etc/init.d/{scripts[0]}")
        return
    installable = _installable(tree)
    if not installable or _is_first_boot(tree):
        return
    wanted = set(_wanted(tree))
    if not wanted & set(installable):
        reason = f"{installable[min(installable)]} is not enabled: nothing under {_LOCAL_UNITS} wants it"
        yield from _if_all_read(tree, problems, reason)


def _unit_names(tree: TolerantTree) -> list[str]:
    directories = cloudinit.UNIT_DIRECTORIES
    return [name for directory in directories for name in tree.names(directory) if name in _STAGES]


def _if_all_read(tree: TolerantTree, problems: int, reason: str) -> Iterator[str]:
    """Yield `reason`, which relies on an absence, only if nothing has been unreadable since `problems`."""
    if len(tree.problems) == problems:
        yield reason


def _installable(tree: TolerantTree) -> dict[str, str]:
    """Return the stages that must be enabled to run, by name, with their paths."""
    found: dict[str, str] = {}
    for directory in cloudinit.UNIT_DIRECTORIES:
        for name in _STAGES:
            path = f"{directory}/{name}"
            if name not in found and re.search(r"^\[Install\]", read_text(tree, path) or "", re.MULTILINE):
                found[name] = path
    return found


def _wanted(tree: TolerantTree) -> Iterator[str]:
    for directory in cloudinit.UNIT_DIRECTORIES:
        for name in tree.names(directory):
            if name.endswith((".wants", ".requires")):
                yield from tree.names(f"{directory}/{name}")


def _is_first_boot(tree: TolerantTree) -> bool:
    """Return whether systemd may enable units by their presets when the clone starts."""
    text = (read_text(tree, "/etc/machine-id") or "").strip()
    return text in ("", "uninitialized")
