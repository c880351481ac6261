"""Finds how the interfaces of a Linux system are configured: with DHCP, fixed addresses or MAC addresses.

Each parser takes a file's text and returns its Addressing. The parsers search for the relevant keys and do
not validate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from ipaddress import ip_interface
from typing import Any

from recast.preparation.filetree import TolerantTree, read_text, read_texts
from recast.preparation.syntax import is_true, join_lines, parse_ini, parse_shell, parse_yaml, walk

_INTERFACES = "/etc/network/interfaces"
_MAC = re.compile(r"(?<![\w:-])[0-9a-f]{1,2}(?:[:-][0-9a-f]{1,2}){5,}(?![\w:-])", re.IGNORECASE)
_MAC_NAME = re.compile(r"\benx[0-9a-f]{12}\b")  # an interface that systemd names by its MAC address
# Files that editors and package managers leave beside the one that is used.
_LEFTOVERS = (
    "~",
    ".bak",
    ".old",
    ".orig",
    ".rpmnew",
    ".rpmorig",
    ".rpmsave",
    ".swp",
    ".dpkg-old",
    ".dpkg-dist",
)
_OWN_HEADER = re.compile(
    r"^#.*(?:cloud-init|information provided by the datasource)", re.IGNORECASE | re.MULTILINE
)
_HEADER_LINES = 12
_MAC_SUFFIX = re.compile(r"^ifcfg-eth-id-(.*)$")  # SUSE's files by MAC address


@dataclass(frozen=True)
class Addressing:
    """How one file configures the interfaces it is about."""

    has_dhcp: bool = False
    has_static: bool = False
    macs: tuple[str, ...] = ()
    """The MAC addresses that choose an interface or are given to one."""


@dataclass(frozen=True)
class NetworkFile:
    """One file that configures the network."""

    path: str
    addressing: Addressing
    is_own: bool
    """Whether Cloud-Init wrote it, and writes it anew on a new server."""


def read_network(tree: TolerantTree) -> Iterator[NetworkFile]:
    """Yield each network configuration file with its addressing."""
    for path, text, parse in _read_texts(tree):
        if path.endswith(_LEFTOVERS):
            continue
        try:
            addressing = parse(text)
        except ValueError as error:
            tree.note(f"{path} is not valid: {error}")
            continue
        name = path.rpartition("/")[2]
        named = _MAC_NAME.findall("\n".join([name, *join_lines(text)])) + _MAC_SUFFIX.findall(name)
        addressing = replace(addressing, macs=(*addressing.macs, *named))
        header = "\n".join(text.splitlines()[:_HEADER_LINES])
        yield NetworkFile(path, addressing, "cloud-init" in name or bool(_OWN_HEADER.search(header)))


def _read_texts(tree: TolerantTree) -> Iterator[tuple[str, str, Callable[[str], Addressing]]]:
    seen: set[str] = set()
    main = read_text(tree, _INTERFACES)
    if main is not None:
        yield _INTERFACES, main, parse_interfaces
        for path in _sourced(tree, main):
            seen.add(path)
            yield path, read_text(tree, path) or "", parse_interfaces
    for path, parse in _FILES:
        text = read_text(tree, path)
        if text is not None:
            yield path, text, parse
    for directory, prefix, suffixes, parse in _DIRECTORIES:
        for path, text in read_texts(tree, directory, suffixes).items():
            if (
                path not in seen
                and path.rpartition("/")[2].startswith(prefix)
                and not path.endswith("/ifcfg-lo")
            ):
                yield path, text, parse
        # A drop-in extends the file of its directory's name.
        for name in tree.names(directory) if directory in _WITH_DROP_INS else ():
            if name.endswith(tuple(f"{suffix}.d" for suffix in suffixes)):
                for path, text in read_texts(tree, f"{directory}/{name}", (".conf",)).items():
                    yield path, text, parse


def _sourced(tree: TolerantTree, interfaces: str) -> Iterator[str]:
    """Yield the files that interfaces(5) includes by "source" and "source-directory"."""
    for line in join_lines(interfaces):
        words = line.split()
        if len(words) == 2 and words[0] in ("source", "source-directory"):
            path = words[1] if words[1].startswith("/") else f"/etc/network/{words[1]}"
            directory, _, pattern = (path.rstrip("/") + "/*" if words[0] != "source" else path).rpartition(
                "/"
            )
            for name in tree.names(directory):
                if fnmatchcase(name, pattern):
                    yield f"{directory}/{name}"


def is_fixed(address: Any) -> bool:
    """Return whether an address belongs to one server: it is not loopback, link-local or unspecified."""
    text = str(address).strip()
    try:
        parsed = ip_interface(text).ip
    except ValueError:
        return bool(text)
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified)


def parse_interfaces(text: str) -> Addressing:
    """Parse interfaces(5): "iface NAME FAMILY METHOD", the options of ifupdown-ng, and commands of "up"."""
    has_dhcp = has_static = is_loopback = False
    macs: list[str] = []
    for line in join_lines(text):
        words = line.split()
        if words[:1] == ["iface"] and len(words) > 1:
            is_loopback = words[1] == "lo"
        if not words or is_loopback:
            continue
        if words[0] in _INTERFACES_MACS:
            macs += _MAC.findall(line)
        if words[0] == "iface":
            has_dhcp |= bool(set(words[3:4]) & {"dhcp", "auto"})
            has_static |= words[3:4] == ["static"]
        elif words[0] in ("address", "ipaddr"):
            has_static |= is_fixed(" ".join(words[1:2]))
        elif words[0] == "use":
            has_dhcp |= "dhcp" in words[1:]
        elif words[0] in ("up", "pre-up", "post-up"):
            has_static |= any(is_fixed(address) for address in _ADDRESS_COMMAND.findall(line))
    return Addressing(has_dhcp, has_static, tuple(macs))


_INTERFACES_MACS = frozenset(
    {"auto", "allow-hotplug", "iface", "rename", "hwaddress", "hwaddress-ether", "bridge_hw", "bridge-hw"}
)
_ADDRESS_COMMAND = re.compile(
    r"\b(?:ip\s+(?:-\w+\s+)*a(?:ddr(?:ess)?)?\s+(?:add|replace)|ifconfig\s+\S+)\s+([0-9a-f][0-9a-f.:]+)"
)


def parse_netplan(text: str) -> Addressing:
    """Parse netplan's YAML, which is version 2 of Cloud-Init's network configuration."""
    return addressing_from_yaml(parse_yaml(text))


def addressing_from_yaml(data: Any) -> Addressing:
    """Return the addressing of parsed YAML of netplan, or of Cloud-Init's versions 1 and 2."""
    has_dhcp = has_static = False
    macs: list[str] = []
    for parents, mapping in walk(data):
        if _NO_INTERFACES & set(parents):
            continue
        kind = str(mapping.get("type", ""))
        has_dhcp |= is_true(mapping.get("dhcp4")) or is_true(mapping.get("dhcp6"))
        has_dhcp |= "subnets" in parents and kind.startswith(("dhcp", "ipv6_dhcp", "ipv6_slaac"))
        addresses = mapping.get("addresses")
        has_static |= any(is_fixed(address) for each in _as_list(addresses) for address in _as_list(each))
        has_static |= kind in ("static", "static6") and is_fixed(mapping.get("address", ""))
        macs += [str(mapping[key]) for key in ("macaddress", "mac_address") if mapping.get(key)]
    return Addressing(has_dhcp, has_static, tuple(macs))


# The mappings of netplan that hold addresses of other machines, or of interfaces within this one.
_NO_INTERFACES = frozenset({"nameservers", "tunnels", "dummy-devices", "routes", "routing-policy", "lo"})


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return value if isinstance(value, list) else [value] if value else []


def parse_ifcfg(text: str) -> Addressing:
    """Parse ifcfg files of Red Hat and SUSE: BOOTPROTO, IPADDR, HWADDR."""
    values = parse_shell(text)
    macs = tuple(values[key] for key in ("HWADDR", "MACADDR", "LLADDR") if _MAC.search(values.get(key, "")))
    if values.get("ONBOOT", "").lower() == "no" or values.get("STARTMODE", "").lower() in ("off", "manual"):
        return Addressing(macs=macs)  # it is not used at boot
    has_dhcp = "dhcp" in values.get("BOOTPROTO", "").lower()
    fixed = [
        key for key, value in values.items() if key.startswith(("IPADDR", "IPV6ADDR")) and is_fixed(value)
    ]
    return Addressing(has_dhcp, not has_dhcp and bool(fixed), macs)


def parse_keyfile(text: str) -> Addressing:
    """Parse NetworkManager's keyfiles: method and addresses of the sections ipv4 and ipv6, MAC addresses."""
    rows = parse_ini(text)
    macs = tuple(
        value
        for _, key, value in rows
        if key in ("mac-address", "cloned-mac-address", "permanent-mac-address") and _MAC.search(value)
    )
    connection = {key: value.lower() for section, key, value in rows if section == "connection"}
    if connection.get("type") in _INNER_CONNECTIONS or connection.get("autoconnect") == "false":
        return Addressing()
    methods = {value for section, key, value in rows if key == "method" and section in ("ipv4", "ipv6")}
    addresses = [
        value
        for section, key, value in rows
        if section in ("ipv4", "ipv6") and re.fullmatch(r"address(?:es)?\d*", key)
    ]
    has_static = "manual" in methods or any(is_fixed(re.split("[,;]", each)[0]) for each in addresses)
    return Addressing("auto" in methods, has_static, macs)


_INNER_CONNECTIONS = ("loopback", "wireguard", "vpn", "tun", "dummy")


def parse_networkd(text: str) -> Addressing:
    """Parse systemd.network(5), .link and .netdev: DHCP=, Address=, MACAddress=."""
    rows = parse_ini(text)
    if any(section == "Match" and key == "Name" and value == "lo" for section, key, value in rows):
        return Addressing()
    return Addressing(
        any(key == "DHCP" and value in _NETWORKD_DHCP for _, key, value in rows),
        any(key == "Address" and is_fixed(value) for _, key, value in rows),
        tuple(
            value
            for section, key, value in rows
            if section in _NETWORKD_MACS
            and key in ("MACAddress", "PermanentMACAddress")
            and value not in ("", "none")
        ),
    )


# Other sections have the MAC addresses of neighbours and leases.
_NETWORKD_MACS = frozenset({"Match", "Link", "NetDev"})
_NETWORKD_DHCP = frozenset({"yes", "true", "on", "1", "ipv4", "ipv6", "both"})


def parse_nmstate(text: str) -> Addressing:
    """Parse the YAML that nmstate.service applies: the addresses of "interfaces"."""
    has_dhcp = has_static = False
    macs: list[str] = []
    for parents, mapping in walk(parse_yaml(text)):
        if parents[:1] == ("interfaces",):
            has_dhcp |= is_true(mapping.get("dhcp"))
            has_static |= parents[-1] == "address" and is_fixed(mapping.get("ip", ""))
            macs += [str(mapping["mac-address"])] if mapping.get("mac-address") else []
    return Addressing(has_dhcp, has_static, tuple(macs))


def parse_dhcpcd(text: str) -> Addressing:
    """Parse dhcpcd.conf(5): "static ip_address=" of an interface; a profile is used only when DHCP fails."""
    is_profile = has_static = False
    for line in join_lines(text):
        words = line.split()
        if words[:1] in (["interface"], ["profile"]):
            is_profile = words[0] == "profile"
        has_static |= not is_profile and bool(re.match(r"static\s+ip6?_address=\S", line.strip()))
    return Addressing(has_static=has_static)


def parse_netifrc(text: str) -> Addressing:
    """Parse Gentoo's conf.d/net: config_IFACE and mac_IFACE."""
    values = parse_shell(text)
    configured = [value for key, value in values.items() if key.startswith("config_") and key != "config_lo"]
    macs = tuple(value for key, value in values.items() if key.startswith("mac_") and _MAC.search(value))
    words = [value.split()[0] for value in configured if value.split()]
    return Addressing("dhcp" in words, any(word[0].isdigit() and is_fixed(word) for word in words), macs)


def parse_mactab(text: str) -> Addressing:
    """Parse mactab(5) and iftab(5), which name interfaces by their MAC addresses."""
    return Addressing(macs=tuple(mac for line in join_lines(text) for mac in _MAC.findall(line)))


_Parser = Callable[[str], Addressing]
_FILES: tuple[tuple[str, _Parser], ...] = (
    ("/etc/dhcpcd.conf", parse_dhcpcd),
    ("/etc/conf.d/net", parse_netifrc),
    ("/etc/mactab", parse_mactab),
    ("/etc/iftab", parse_mactab),
)
_DIRECTORIES: tuple[tuple[str, str, tuple[str, ...], _Parser], ...] = (
    ("/etc/network/interfaces.d", "", ("",), parse_interfaces),
    ("/etc/netplan", "", (".yaml", ".yml"), parse_netplan),
    ("/usr/lib/netplan", "", (".yaml", ".yml"), parse_netplan),
    ("/etc/sysconfig/network-scripts", "ifcfg-", ("",), parse_ifcfg),
    ("/etc/sysconfig/network", "ifcfg-", ("",), parse_ifcfg),
    ("/etc/NetworkManager/system-connections", "", ("",), parse_keyfile),
    ("/usr/lib/NetworkManager/system-connections", "", ("",), parse_keyfile),
    ("/etc/nmstate", "", (".yml", ".yaml"), parse_nmstate),
    ("/etc/systemd/network", "", (".network", ".link", ".netdev"), parse_networkd),
    ("/usr/local/lib/systemd/network", "", (".network", ".link", ".netdev"), parse_networkd),
)
_WITH_DROP_INS = frozenset({"/etc/systemd/network", "/usr/local/lib/systemd/network"})
PLACES = (
    "/etc/network",
    "/etc/netplan",
    "/etc/sysconfig",
    "/etc/NetworkManager",
    "/etc/systemd/network",
    "/etc/nmstate",
)
"""The main directories that are read, for messages."""
