"""Whether a clone gets addresses of its own: members of the kinds of faults found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from recast.preparation.inspection import inspect_here
from recast.preparation.report import Finding, Verdict
from tests.harness.disks import SystemDisk
from tests.harness.memory_tree import LinkTo

OK, MISSING, UNKNOWN = Verdict.OK, Verdict.MISSING, Verdict.UNKNOWN
Files = Mapping[str, str | LinkTo | None]
FindingOf = Callable[..., Finding]

CFG = "/etc/cloud/cloud.cfg.d"
LEFT: dict[str, str | LinkTo | None] = {
    "/etc/network/interfaces": None,
    f"{CFG}/99.cfg": "network: {config: disabled}\n",
}
RULES = "/etc/udev/rules.d"
PIN = 'SUBSYSTEM=="net", ATTR{address}=="52:54:00:12:34:56", NAME="eth0"\n'
SYSCONFIG = "/etc/sysconfig/network"
SCRIPTS = "/etc/sysconfig/network-scripts"
NM = "/etc/NetworkManager/system-connections"
NETWORKD = "/etc/systemd/network"
NETPLAN = "/etc/netplan/01-netcfg.yaml"
STATIC = "network:\n  version: 2\n  ethernets:\n    ens192:\n      addresses: [192.0.2.10/24]\n"
MAC = "52:54:00:12:34:56"
TIED = f"network: {{ethernets: {{a: {{match: {{macaddress: {MAC}}}}}}}}}\n"
FIXED = "192.0.2.10/24"
V1 = "network:\n version: 1\n config:\n - type: physical\n   subnets:\n   - {type: static, address: %s}\n"
V1_LOOPBACK = "network: {config: [{type: loopback, subnets: [{type: static, address: 127.0.0.1/8}]}]}\n"
ROUTED = "network: {ethernets: {a: {dhcp4: yes, routes: [{to: 0.0.0.0/0, via: 192.0.2.1}]}}}\n"
KERNEL = "linux /v root=x ip=192.0.2.10::192.0.2.1:255.255.255.0:h:eth0:none\n"
NMSTATE = "interfaces: [{name: a, ipv4: {dhcp: %s, address: [{ip: 192.0.2.10, prefix-length: 24}]}}]\n"
SEED = "/var/lib/cloud/seed/nocloud/network-config"
NETPLAN_OWN = "/etc/netplan/50-cloud-init.yaml"


@pytest.mark.parametrize(
    ("check", "files", "damaged", "verdict"),
    [
        ("NO_PERSISTENT_NET_RULES", {f"{RULES}/70-persistent-net.rules/.keep": ""}, "", OK),
        ("NO_PERSISTENT_NET_RULES",
         {f"{RULES}/70-persistent-net.rules/.keep": "", f"{RULES}/71-net.rules": PIN}, "", MISSING),
        ("DHCP", {f"{SYSCONFIG}/if-up.d/.keep": "", f"{SYSCONFIG}/ifcfg-eth0": "BOOTPROTO='dhcp'\n"}, "", OK),
        ("DHCP", {f"{SYSCONFIG}/if-up.d/.keep": "",
                  f"{SYSCONFIG}/ifcfg-eth0": "BOOTPROTO='static'\nIPADDR='192.0.2.10/24'\n"}, "", MISSING),
        # Members that the reports do not name.
        ("NO_PERSISTENT_NET_RULES", {f"{RULES}/6.rules": "x" * (2 << 20), f"{RULES}/71.rules": PIN}, "",
         MISSING),
        ("NO_PERSISTENT_NET_RULES", {f"{RULES}/60.rules": "x", f"{RULES}/71.rules": PIN}, f"{RULES}/60.rules",
         MISSING),
        ("NO_PERSISTENT_NET_RULES", {f"{RULES}/60.rules": "x"}, f"{RULES}/60.rules", UNKNOWN),
        ("NO_PERSISTENT_NET_RULES", {f"{RULES}/71.rules": PIN}, NETWORKD, MISSING),
        ("NO_PERSISTENT_NET_RULES", {f"{RULES}/71.rules": PIN}, "/etc/cloud", MISSING),
        ("DHCP", {"/etc/netplan/00.yaml": "[", NETPLAN: STATIC}, "", MISSING),
        ("DHCP", {"/etc/netplan/00.yaml": "[", f"{SCRIPTS}/ifcfg-eth0": "BOOTPROTO=dhcp\n"}, "", UNKNOWN),
        ("DHCP", {"/etc/network/interfaces/x": "", NETPLAN: STATIC}, "", MISSING),
        ("DHCP", {f"{NM}/a/x": "", f"{NM}/b.nmconnection": "[ipv4]\nmethod=auto\n"}, "", OK),
        ("DHCP", {NETPLAN: STATIC}, "/usr/bin", MISSING),  # with or without Cloud-Init
        ("DHCP", {NETPLAN_OWN: STATIC}, "/usr/bin", MISSING),
        ("NO_PERSISTENT_NET_RULES", {NETPLAN_OWN: TIED}, "/usr/bin", UNKNOWN),
        ("GRUB_BY_UUID", {"/boot/grub/grub.cfg/x": "", "/boot/grub/grub.cfg": None,
                          "/boot/loader/entries/a.conf": "options root=/dev/sda1\n"}, "", MISSING),
        ("GRUB_BY_UUID", {"/boot/grub/grub.cfg": "linux /v root=/dev/sda1\n"}, "/boot/loader", MISSING),
        ("CLOUD_INIT_INSTALLED", {}, "/usr/local", OK),
        ("CLOUD_INIT_INSTALLED", {"/usr/bin/cloud-init": None}, "/usr/local", UNKNOWN),
        ("CLOUD_INIT_ENABLED", {"/etc/cloud/cloud-init.disabled": ""}, "/etc/systemd", MISSING),
        ("CLOUD_INIT_ENABLED", {}, "/etc/systemd", UNKNOWN),
        ("CLOUD_INIT_DATASOURCE", {f"{CFG}/a.cfg/x": "", f"{CFG}/z.cfg": "datasource_list: [None]\n"}, "",
         MISSING),
    ],
)  # fmt: skip
@pytest.mark.rule("R20")
@pytest.mark.fault("FAULT-F03")
def test_nothing_hides_what_is_seen(
    linux_finding: FindingOf, check: str, files: Files, damaged: str, verdict: Verdict
) -> None:
    """A directory is no file, and what was seen decides, whatever else is unreadable."""
    base = LEFT if check == "DHCP" else {}
    assert linux_finding(check, {**base, **files}, damaged).verdict is verdict


@pytest.mark.fault("FAULT-F03")
def test_a_directory_hides_no_rule_on_a_disk(
    make_disk: Callable[..., SystemDisk], file_reader: Callable[[Any], Any]
) -> None:
    """A directory that stands for a rule hides no other rule on a real file system."""
    disk = make_disk(files={f"{RULES}/70-persistent-net.rules/.keep": "", f"{RULES}/71-net.rules": PIN})
    (finding,) = inspect_here(file_reader(disk.path)).missing
    assert f"{RULES}/71-net.rules" in finding.detail


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (f"{SCRIPTS}/ifcfg-eth0", f"DEVICE=eth0\nBOOTPROTO=dhcp\nHWADDR={MAC}\n"),
        (NETPLAN, f"network:\n ethernets:\n  a:\n   dhcp4: true\n   match: {{macaddress: '{MAC}'}}\n"),
        (f"{NM}/eth0.nmconnection", f"[ethernet]\nmac-address={MAC}\n[ipv4]\nmethod=auto\n"),
        (f"{NETWORKD}/10-eth.network", f"[Match]\nMACAddress={MAC}\n[Network]\nDHCP=yes\n"),
        (f"{RULES}/70-persistent-net.rules",
         f'SUBSYSTEM=="net", \\\n  ATTR{{address}}=="{MAC}", \\\n  NAME="eth0"\n'),
        # Members that the reports do not name.
        (NETPLAN, f"network: {{ethernets: {{a: {{dhcp4: true, match: {{macaddress: {MAC}}}}}}}}}\n"),
        (NETPLAN, f"network:\n ethernets:\n  a: &a\n   match: {{macaddress: {MAC}}}\n  b: *a\n"),
        (NETPLAN, f"network:\n ethernets:\n  a:\n   dhcp4: true\n   macaddress: {MAC}\n"),
        (f"{SYSCONFIG}/ifcfg-eth0", f"BOOTPROTO='dhcp'\nLLADDR='{MAC}'\n"),
        (f"{SCRIPTS}/ifcfg-eth0", f"BOOTPROTO=dhcp\nMACADDR={MAC.upper()}\n"),
        (f"{NM}/eth0", f"[802-3-ethernet]\nmac-address={MAC}\n"),  # older versions use no suffix
        (f"{NM}/eth0.nmconnection", f"[ethernet]\ncloned-mac-address={MAC}\n"),
        (f"{NETWORKD}/10-eth.network.d/mac.conf", f"[Match]\nPermanentMACAddress={MAC}\n"),
        (f"{NETWORKD}/10.link", f"[Match]\nOriginalName=*\n[Link]\nMACAddress={MAC}\n"),
        ("/etc/network/interfaces", f"iface eth0 inet dhcp\n  hwaddress ether {MAC}\n"),
        ("/etc/mactab", f"eth0 {MAC}\n"),
        ("/etc/iftab", f"eth0 mac {MAC} arp 1\n"),
        ("/etc/conf.d/net", f'config_eth0="dhcp"\nmac_eth0="{MAC}"\n'),
        ("/boot/grub/grub.cfg", f"linux /v root=UUID=1 ifname=eth0:{MAC}\n"),
        ("/etc/network/interfaces", "iface enx525400123456 inet dhcp\n"),
        (NETPLAN, "network: {ethernets: {enx525400123456: {dhcp4: true}}}\n"),
        (f"{SYSCONFIG}/ifcfg-eth-id-52:54:00:12:34:56", "BOOTPROTO=dhcp\n"),
        (f"{NETWORKD}/br.netdev", f"[NetDev]\nName=br0\nKind=bridge\nMACAddress={MAC}\n"),
        ("/usr/lib/udev/rules.d/70.rules", PIN),
        (f"{RULES}/71.rules", 'ENV{ID_NET_NAME_MAC}=="enx525400123456", NAME="lan"\n'),
        ("/etc/nmstate/a.yml", f"interfaces: [{{name: a, mac-address: '{MAC}'}}]\n"),
        (f"{RULES}/71.rules", f'ATTR{{address}}=="{MAC}|{MAC}", \\\n# why\nNAME:="eth0"\n'),
        (NETPLAN_OWN, TIED),
        (f"{SCRIPTS}/ifcfg-eth0", f"# Created by cloud-init automatically\nHWADDR={MAC}\n"),
    ],
)  # fmt: skip
@pytest.mark.rule("R20")
@pytest.mark.fault("FAULT-F05")
def test_an_interface_tied_to_a_mac(linux_finding: FindingOf, path: str, content: str) -> None:
    """Each file that a clone keeps and that names the source's MAC address is found and named."""
    finding = linux_finding("NO_PERSISTENT_NET_RULES", LEFT | {path: content})
    assert finding.verdict is MISSING
    assert path in finding.detail


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (f"{RULES}/71.rules", 'ATTR{address}=="00:50:56:*", NAME="net%n"\n'),
        (f"{RULES}/71.rules", f'# ATTR{{address}}=="{MAC}", NAME="eth0"\n'),
        (f"{RULES}/71.rules", f'ATTR{{address}}=="{MAC}", ENV{{x}}="1"\nKERNEL=="a", NAME="b"\n'),
        (f"{SCRIPTS}/ifcfg-eth0", "BOOTPROTO=dhcp\n#HWADDR=52:54:00:12:34:56\n"),
        (f"{SCRIPTS}/ifcfg-eth0.rpmsave", f"HWADDR={MAC}\n"),
        (f"{NM}/eth0.nmconnection", "[ethernet]\ncloned-mac-address=stable\n[ipv4]\nmethod=auto\n"),
        ("/etc/network/interfaces", "iface a inet dhcp\n up arp -s 192.0.2.9 52:54:00:12:34:56\n"),
        ("/etc/network/interfaces", f"iface a inet dhcp\n wpa-bssid {MAC}\n"),
        (f"{NETWORKD}/a.network", f"[Network]\nDHCP=yes\n[DHCPServerStaticLease]\nMACAddress={MAC}\n"),
        (NETPLAN, "network: {ethernets: {a: {dhcp4: true, addresses: ['fd00:1:2:3:4:5:6:7/64']}}}\n"),
        (f"{NETWORKD}/10.network", "[Match]\nName=en*\n[Network]\nDHCP=yes\n"),
        (f"{SCRIPTS}/ifcfg-eth0", f"# Created by cloud-init automatically\nHWADDR={MAC}\n"),
        (NETPLAN_OWN, TIED),
    ],
)  # fmt: skip
@pytest.mark.fault("FAULT-F05")
def test_an_interface_tied_to_nothing(linux_finding: FindingOf, path: str, content: str) -> None:
    """A pattern, a comment, a file out of use, and what Cloud-Init writes anew tie no interface."""
    assert linux_finding("NO_PERSISTENT_NET_RULES", {path: content}).verdict is OK


@pytest.mark.parametrize(
    ("files", "verdict"),
    [
        ({f"{CFG}/90-installer-network.cfg": STATIC}, MISSING),
        (LEFT | {NETPLAN_OWN: STATIC}, MISSING),
        # Members that the reports do not name: Cloud-Init's own configuration.
        ({f"{CFG}/90.cfg": V1 % FIXED}, MISSING),
        ({"/etc/cloud/cloud.cfg": '{"network": {"ethernets": {"a": {"addresses": ["10.0.0.2"]}}}}'}, MISSING),
        ({f"{CFG}/90.cfg": "network: {ethernets: {a: {addresses: [{192.0.2.1/24: {l: x}}]}}}\n"}, MISSING),
        ({f"{CFG}/90.cfg": "network: {ethernets: {a: {dhcp4: true}}}\n"}, OK),
        ({f"{CFG}/80.cfg": STATIC, f"{CFG}/90.cfg": "network: {ethernets: {ens192: {addresses: []}}}\n"}, OK),
        ({f"{CFG}/90.cfg": V1_LOOPBACK}, OK),
        # Its rendered files, when it leaves the network, or does not run.
        (LEFT | {"/etc/network/interfaces.d/50-cloud-init": "iface eth0 inet static\n"}, MISSING),
        (LEFT | {f"{NM}/cloud-init-a.nmconnection": "[ipv4]\nmethod=manual\n"}, MISSING),
        (LEFT | {f"{NETWORKD}/10-cloud-init-eth0.network": "[Network]\nAddress=192.0.2.10/24\n"}, MISSING),
        ({"/etc/cloud/cloud-init.disabled": "", NETPLAN_OWN: STATIC}, MISSING),
        ({NETPLAN_OWN: STATIC}, OK),
        # Further syntaxes.
        (LEFT | {"/etc/network/interfaces": "iface eth0 \\\n  inet static\n"}, MISSING),
        (LEFT | {"/etc/network/interfaces": "iface eth0\n  address 192.0.2.10/24\n"}, MISSING),
        (LEFT | {"/etc/network/interfaces": "iface e inet manual\n  up ip addr add 192.0.2.1/24\n"}, MISSING),
        (LEFT | {"/etc/network/interfaces": "source /etc/network/my/*.cfg\n",
                 "/etc/network/my/a.cfg": "iface eth0 inet static\n"}, MISSING),
        (LEFT | {"/etc/network/interfaces": "iface eth0\n  use dhcp\n"}, OK),
        (LEFT | {NETPLAN: "network:\n ethernets:\n  a: &x {addresses: [192.0.2.10/24]}\n  b: *x\n"}, MISSING),
        (LEFT | {NETPLAN: '{"network": {"ethernets": {"a": {"addresses": ["2001:db8::1/64"]}}}}'}, MISSING),
        (LEFT | {NETPLAN: "network: {ethernets: {a: {dhcp4: true, addresses: [169.254.9.9/16]}}}\n"}, OK),
        (LEFT | {NETPLAN: ROUTED}, OK),
        (LEFT | {f"{SCRIPTS}/ifcfg-eth0": "BOOTPROTO=none\nIPADDR0=192.0.2.10\n"}, MISSING),
        (LEFT | {f"{SCRIPTS}/ifcfg-a": "BOOTPROTO=dhcp\n", f"{SCRIPTS}/ifcfg-a~": "IPADDR=192.0.2.1\n"}, OK),
        (LEFT | {f"{NM}/old": "[ipv4]\nmethod=manual\naddresses1=192.0.2.10;24;192.0.2.1;\n"}, MISSING),
        (LEFT | {f"{NM}/a.nmconnection": "[ipv4]\nmethod=auto\naddress1=192.0.2.10/24\n"}, MISSING),
        (LEFT | {f"{NM}/lo.nmconnection": "[connection]\ntype=loopback\n[ipv4]\nmethod=manual\n",
                 f"{NM}/a.nmconnection": "[ipv4]\nmethod=auto\n"}, OK),
        (LEFT | {f"{NETWORKD}/a.network": "[Network]\nDHCP=yes\n",
                 f"{NETWORKD}/a.network.d/x.conf": "[Address]\nAddress = 192.0.2.10/24\n"}, MISSING),
        (LEFT | {"/etc/dhcpcd.conf": "interface eth0\nstatic ip_address=192.0.2.10/24\n"}, MISSING),
        (LEFT | {"/etc/conf.d/net": 'config_eth0="192.0.2.10/24"\n'}, MISSING),
        (LEFT | {"/etc/nmstate/a.yml": NMSTATE % "false"}, MISSING),
        ({SEED: STATIC}, MISSING),
        ({SEED: "version: 2\nethernets: {a: {dhcp4: true}}\n"}, OK),
        ({SEED: STATIC, f"{CFG}/95.cfg": "datasource_list: [ConfigDrive]\n"}, OK),
        (LEFT | {"/etc/conf.d/net": 'config_eth0="dhcp"\n'}, OK),
        (LEFT | {"/boot/grub/grub.cfg": KERNEL}, MISSING),
    ],
)  # fmt: skip
@pytest.mark.rule("R20")
@pytest.mark.fault("FAULT-F06")
def test_a_fixed_address(linux_finding: FindingOf, files: Files, verdict: Verdict) -> None:
    """A fixed address that a clone would take is found in every form, and in Cloud-Init's settings."""
    assert linux_finding("DHCP", files).verdict is verdict


@pytest.mark.fault("FAULT-F06")
def test_a_small_text_is_no_long_work(linux_finding: FindingOf) -> None:
    """YAML whose aliases would expand to billions of mappings is read in an instant."""
    lines = ["a0: &a0 {dhcp4: true}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert linux_finding("DHCP", LEFT | {NETPLAN: "\n".join(lines)}).verdict is OK
