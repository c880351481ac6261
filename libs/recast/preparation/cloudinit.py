"""Reads Cloud-Init's configuration from the files of a Linux system, for its checks and that of DHCP."""

from __future__ import annotations

import re

from recast.preparation.filetree import FileTree, read_text, read_texts

PROGRAMS = ("/usr/bin/cloud-init", "/usr/local/bin/cloud-init", "/usr/sbin/cloud-init", "/opt/bin/cloud-init")
DISABLED = "/etc/cloud/cloud-init.disabled"

_NETWORK_DISABLED = re.compile(r"^network:\s*\{? ?config: ?['\"]?disabled", re.MULTILINE)
_DATASOURCES = re.compile(r"^datasource_list:[ \t]*(\[[^\]]*\]|(?:\n[ \t]*-[^\n]*)+)", re.MULTILINE)


def find_program(tree: FileTree) -> str | None:
    """Return the path of Cloud-Init's program, or None."""
    return next((path for path in PROGRAMS if tree.exists(path)), None)


def read_configuration(tree: FileTree) -> dict[str, str]:
    """Return Cloud-Init's configuration files by path; later ones override earlier ones."""
    main = read_text(tree, "/etc/cloud/cloud.cfg")
    first = {} if main is None else {"/etc/cloud/cloud.cfg": main}
    return first | read_texts(tree, "/etc/cloud/cloud.cfg.d", (".cfg",))


def find_datasources(configuration: dict[str, str]) -> tuple[str, list[str]] | None:
    """Return the last file that lists datasources, and its list; None if no file does."""
    for path, text in reversed(configuration.items()):
        match = _DATASOURCES.search(text)
        if match:
            uncommented = re.sub(r"#[^\n]*", "", match[1])
            return path, re.findall(r"\w+", uncommented)
    return None


def manages_network(tree: FileTree) -> bool:
    """Return whether Cloud-Init is installed, enabled, and configures the network."""
    if find_program(tree) is None or tree.exists(DISABLED):
        return False
    return not any(_NETWORK_DISABLED.search(_compact(text)) for text in read_configuration(tree).values())


def _compact(text: str) -> str:
    """Return YAML without comments and empty lines, and with single blanks."""
    lines = (re.sub(r"[ \t]+", " ", line.partition("#")[0]).rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)
