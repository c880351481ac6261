"""Finds interfaces of a Linux system that are configured with DHCP or with fixed addresses.

Each parser takes a file's text and returns whether it configures DHCP and whether it fixes an address. The
parsers search for the relevant keys and do not validate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from recast.preparation.filetree import FileTree, read_text, read_texts


@dataclass(frozen=True)
class Addressing:
    """How one file configures the interfaces it is about."""

    has_dhcp: bool
    has_static: bool


def read_network(tree: FileTree) -> Iterator[tuple[str, Addressing]]:
    """Yield each network configuration file with its addressing, except those that Cloud-Init wrote."""
    main = read_text(tree, "/etc/network/interfaces")
    if main is not None:
        yield "/etc/network/interfaces", parse_interfaces(main)
    for directory, suffixes, parse in _DIRECTORIES:
        for path, text in read_texts(tree, directory, suffixes).items():
            name = path.rpartition("/")[2]
            is_ifcfg = name.startswith("ifcfg-") and name != "ifcfg-lo"
            if "cloud-init" not in name and (is_ifcfg or parse is not parse_ifcfg):
                yield path, parse(text)


def parse_interfaces(text: str) -> Addressing:
    """Parse interfaces(5): "iface NAME FAMILY METHOD"."""
    rows = [
        row for row in (line.split() for line in text.splitlines()) if row[:1] == ["iface"] and len(row) >= 4
    ]
    methods = {row[3] for row in rows if row[1] != "lo"}
    return Addressing(bool(methods & {"dhcp", "auto"}), "static" in methods)


def parse_netplan(text: str) -> Addressing:
    """Parse netplan's YAML: "addresses" fixes addresses unless it is that of "nameservers"."""
    has_dhcp = has_static = False
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        bare = re.sub(r"nameservers:\s*\{[^}]*\}?", "", line.partition("#")[0])
        if not bare.strip():
            continue
        indent = len(bare) - len(bare.lstrip())
        parents = [parent for parent in parents if parent[0] < indent]
        has_dhcp |= bool(re.search(r"\bdhcp[46]:\s*['\"]?(?:true|yes|on)\b", bare, re.IGNORECASE))
        is_of_nameservers = any(name == "nameservers" for _, name in parents)
        has_static |= bool(re.search(r"\baddresses:(?!\s*\[\s*\])", bare)) and not is_of_nameservers
        key = bare.strip().partition(":")[0].strip("'\"- ")
        parents.append((indent, key))
    return Addressing(has_dhcp, has_static)


def parse_ifcfg(text: str) -> Addressing:
    """Parse ifcfg files of Red Hat and SUSE: BOOTPROTO and IPADDR."""
    values = dict(re.findall(r"^\s*([A-Z0-9_]+)=['\"]?([^'\"\n#]*)", text, re.MULTILINE))
    has_dhcp = "dhcp" in values.get("BOOTPROTO", "").lower()
    return Addressing(
        has_dhcp, not has_dhcp and any(key.startswith(("IPADDR", "IPV6ADDR")) for key in values)
    )


def parse_keyfile(text: str) -> Addressing:
    """Parse NetworkManager's keyfiles: "method" of the sections ipv4 and ipv6."""
    methods = set(re.findall(r"^\s*method\s*=\s*(\w+)", text, re.MULTILINE))
    return Addressing("auto" in methods, "manual" in methods)


def parse_networkd(text: str) -> Addressing:
    """Parse systemd.network(5): DHCP= and Address=."""
    if re.search(r"^\s*Name\s*=\s*lo\s*$", text, re.MULTILINE):
        return Addressing(has_dhcp=False, has_static=False)
    has_dhcp = re.search(r"^\s*DHCP\s*=\s*(?:yes|true|on|1|ipv4|ipv6|both)\b", text, re.MULTILINE)
    return Addressing(bool(has_dhcp), bool(re.search(r"^\s*Address\s*=\s*\S", text, re.MULTILINE)))


_DIRECTORIES: tuple[tuple[str, tuple[str, ...], Callable[[str], Addressing]], ...] = (
    ("/etc/network/interfaces.d", ("",), parse_interfaces),
    ("/etc/netplan", (".yaml", ".yml"), parse_netplan),
    ("/etc/sysconfig/network-scripts", ("",), parse_ifcfg),
    ("/etc/sysconfig/network", ("",), parse_ifcfg),
    ("/etc/NetworkManager/system-connections", (".nmconnection", ".keyfile"), parse_keyfile),
    ("/etc/systemd/network", (".network",), parse_networkd),
)
