"""Finds the kernel's command lines in the configuration of a Linux system's boot loader."""

from __future__ import annotations

import re
from collections.abc import Iterator

from recast.preparation.filetree import TolerantTree, read_text, read_texts
from recast.preparation.syntax import join_lines, parse_shell

GRUB_CONFIGURATIONS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
_ENTRIES = ("/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries")
_APPENDING = ("/boot/extlinux/extlinux.conf", "/boot/syslinux/syslinux.cfg", "/boot/extlinux.conf")
_WHOLE = ("/boot/cmdline.txt", "/boot/firmware/cmdline.txt")
_ENVIRONMENTS = ("/boot/grub2/grubenv", "/boot/grub/grubenv")
_RESCUE = frozenset({"single", "rescue", "emergency", "recovery", "systemd.unit=rescue.target"})
_GRUB_LINE = re.compile(r"^[ \t]*linux(?:16|efi)?[ \t]+(\S.*)$", re.MULTILINE)
_ENTRY_LINE = re.compile(r"^[ \t]*options[ \t]+(\S.*)$", re.MULTILINE)
_APPEND_LINE = re.compile(r"^[ \t]*append[ \t]+(\S.*)$", re.MULTILINE | re.IGNORECASE)
DEFAULTS = "/etc/default/grub"
_PENDING = ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline")


def read_kernel_lines(tree: TolerantTree) -> list[tuple[str, list[str]]]:
    """Return (path, words) of each command line that an ordinary boot may use, so of no rescue entry."""
    # Each boot loader has its own files: those of the others may be on a partition that is not read.
    files = TolerantTree(tree.tree)
    lines = [
        (path, words)
        for path, line in _read_lines(files)
        if (words := line.split()) and not _RESCUE & set(words) and "memtest" not in words[0]
    ]
    if not lines and not read_kernel_defaults(tree):
        for problem in files.problems:
            tree.note(problem)
    return lines


def read_kernel_defaults(tree: TolerantTree) -> list[str]:
    """Return the words that the next update of the boot loader puts into every command line."""
    values = parse_shell(read_text(tree, DEFAULTS) or "")
    lines = [value for name, value in values.items() if name.startswith("GRUB_CMDLINE")]
    lines += [read_text(tree, path) or "" for path in _PENDING]
    return " ".join(lines).split()


def _read_lines(tree: TolerantTree) -> Iterator[tuple[str, str]]:
    for path in GRUB_CONFIGURATIONS:
        yield from _matches(tree, path, _GRUB_LINE)
    options = next((value for path in _ENVIRONMENTS if (value := _kernelopts(tree, path))), "")
    for directory in _ENTRIES:
        for path, text in read_texts(tree, directory, (".conf",)).items():
            if "rescue" not in path:
                for match in _ENTRY_LINE.finditer(text):
                    yield path, match[1].replace("$kernelopts", options)
    for path in _APPENDING:
        yield from _matches(tree, path, _APPEND_LINE)
    for path in _WHOLE:
        yield path, read_text(tree, path) or ""


def _matches(tree: TolerantTree, path: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    text = "\n".join(join_lines(read_text(tree, path) or ""))
    for match in pattern.finditer(text):
        yield path, match[1]


def _kernelopts(tree: TolerantTree, path: str) -> str:
    match = re.search(r"^kernelopts=(.*)$", read_text(tree, path) or "", re.MULTILINE)
    return match[1] if match else ""
