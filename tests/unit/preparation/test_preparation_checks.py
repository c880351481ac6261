"""The checks, on file trees in memory."""

from __future__ import annotations

import pytest

from recast.preparation import linux, windows
from recast.preparation.checks import run_checks
from recast.preparation.content import UnreadableError
from recast.preparation.fstab import MountedTree
from recast.preparation.report import Verdict
from tests.harness.disks import Link, system_files
from tests.harness.memory_tree import LinkTo, MemoryTree

OK, MISSING, UNKNOWN = Verdict.OK, Verdict.MISSING, Verdict.UNKNOWN
NO_CLOUD_INIT = {"/usr/bin/cloud-init": None}


def verdict_on_linux(check: str, files: dict[str, str | None]) -> Verdict:
    """Return the verdict on the prepared server with `files` put in, or with None removed."""
    prepared = {
        path: LinkTo(content.target) if isinstance(content, Link) else content
        for path, content in system_files("prepared").items()
        if path not in files
    }
    tree = MemoryTree(prepared | {path: content for path, content in files.items() if content is not None})
    return next(finding.verdict for finding in run_checks(linux.CHECKS, tree) if finding.check == check)


@pytest.mark.parametrize(
    ("check", "verdict", "path", "content"),
    [
        ("OS_RELEASE", OK, "/etc/os-release", "ID=alpine\n"),
        ("OS_RELEASE", MISSING, "/etc/os-release", "nothing"),
        ("CLOUD_INIT_INSTALLED", MISSING, "/usr/bin/cloud-init", None),
        ("CLOUD_INIT_ENABLED", MISSING, "/etc/cloud/cloud-init.disabled", ""),
        ("CLOUD_INIT_ENABLED", UNKNOWN, "/usr/bin/cloud-init", None),
        ("CLOUD_INIT_DATASOURCE", UNKNOWN, "/usr/bin/cloud-init", None),
        ("CLOUD_INIT_DATASOURCE", OK, "/etc/cloud/cloud.cfg.d/90_dpkg.cfg", None),
        ("CLOUD_INIT_DATASOURCE", OK, "/etc/cloud/cloud.cfg.d/95.cfg", "datasource_list:\n  - NoCloud # x\n"),
        ("CLOUD_INIT_DATASOURCE", MISSING, "/etc/cloud/cloud.cfg.d/95.cfg", "datasource_list: [None]\n"),
        ("CLOUD_INIT_DATASOURCE", MISSING, "/etc/cloud/cloud.cfg.d/95.cfg", "datasource_list: []\n"),
        ("FSTAB_BY_UUID", OK, "/etc/fstab", None),
        ("FSTAB_BY_UUID", OK, "/etc/fstab", "# /dev/sda1 / ext4\nLABEL=root / ext4 defaults 0 1\n"),
        ("FSTAB_BY_UUID", OK, "/etc/fstab", "PARTUUID=1-1 / ext4\ntmpfs /tmp tmpfs\n/dev/mapper/v-r /r x\n"),
        ("FSTAB_BY_UUID", OK, "/etc/fstab", "/dev/sr0 /media iso9660 ro\n/dev/sdb1 /usb vfat user,noauto\n"),
        ("FSTAB_BY_UUID", MISSING, "/etc/fstab", "UUID=1 / ext4 x 0 1\n/dev/vdb1 none swap sw 0 0\n"),
        ("FSTAB_BY_UUID", MISSING, "/etc/fstab", "/dev/nvme0n1p1 / ext4\n"),
        ("FSTAB_BY_UUID", MISSING, "/etc/fstab", "/dev/disk/by-path/pci-1 / ext4\n"),
        ("GRUB_BY_UUID", MISSING, "/boot/grub/grub.cfg", "  linux /vmlinuz root=/dev/sda1 ro\n"),
        ("GRUB_BY_UUID", OK, "/boot/grub/grub.cfg", "  linux /vmlinuz root=/dev/mapper/vg-root ro\n"),
        ("GRUB_BY_UUID", UNKNOWN, "/boot/grub/grub.cfg", None),
        ("NO_PERSISTENT_NET_RULES", OK, "/etc/udev/rules.d/70-persistent-net.rules", "# nothing\n"),
        (
            "NO_PERSISTENT_NET_RULES",
            MISSING,
            "/etc/udev/rules.d/30-net_persistent-names.rules",
            'SUBSYSTEM=="net", SYSFS{address}=="52:54:00:00:00:01", NAME="eth0"\n',
        ),
        ("NO_PERSISTENT_NET_RULES", MISSING, "/etc/systemd/network/10.link", "[Match]\nMACAddress=52:54\n"),
        ("VIRTIO", UNKNOWN, "/etc/initramfs-tools/initramfs.conf", "MODULES=dep\n"),
        ("VIRTIO", MISSING, "/usr/lib/modules/6.1.0-28-amd64/kernel/drivers/block/virtio_blk.ko", None),
    ],
)  # fmt: skip
@pytest.mark.rule("R20")
def test_linux(check: str, verdict: Verdict, path: str, content: str | None) -> None:
    """One file more, less or other on a prepared server changes the verdict of its check."""
    assert verdict_on_linux(check, {path: content}) is verdict


KEYFILE = "/etc/NetworkManager/system-connections/eth0.nmconnection"


@pytest.mark.parametrize(
    ("verdict", "path", "content"),
    [
        (OK, "/etc/network/interfaces", "iface eth0 inet dhcp\n"),
        (OK, "/etc/network/interfaces", "iface lo inet static\niface eth0 inet dhcp\n"),
        (MISSING, "/etc/network/interfaces.d/eth1", "iface eth1 inet static\n  address 10.0.0.2\n"),
        (MISSING, "/etc/netplan/01.yaml", "network:\n ethernets:\n  a:\n   addresses:\n   - 10.0.0.2/24\n"),
        (MISSING, "/etc/netplan/01.yaml", "network: {ethernets: {a: {addresses: [10.0.0.2/24]}}}\n"),
        (
            OK,
            "/etc/netplan/01.yaml",
            "network:\n a:\n  dhcp4: true\n  nameservers:\n   addresses: [1.1.1.1]\n",
        ),
        (OK, "/etc/netplan/01.yaml", "network:\n a:\n  dhcp4: yes\n  nameservers: {addresses: [1.1.1.1]}\n"),
        (OK, "/etc/netplan/50-cloud-init.yaml", "network:\n a:\n  addresses: [10.0.0.2/24]\n"),
        (MISSING, "/etc/sysconfig/network-scripts/ifcfg-eth0", "BOOTPROTO=none\nIPADDR=10.0.0.2\n"),
        (OK, "/etc/sysconfig/network-scripts/ifcfg-eth0", 'BOOTPROTO="dhcp"\nIPADDR=10.0.0.2\n'),
        (OK, "/etc/sysconfig/network-scripts/ifcfg-lo", "IPADDR=127.0.0.1\n"),
        (MISSING, KEYFILE, "[ipv4]\nmethod=manual\naddress1=10.0.0.2/24\n"),
        (OK, KEYFILE, "[ipv4]\nmethod=auto\n"),
        (MISSING, "/etc/systemd/network/10.network", "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.2/24\n"),
        (OK, "/etc/systemd/network/10.network", "[Match]\nName=eth0\n[Network]\nDHCP=yes\n"),
        (OK, "/etc/systemd/network/10.network", "[Match]\nName=lo\n[Network]\nAddress=127.0.0.2/8\n"),
        (UNKNOWN, "/etc/network/interfaces", None),
    ],
)
@pytest.mark.rule("R20")
def test_dhcp(verdict: Verdict, path: str, content: str | None) -> None:
    """Without Cloud-Init a fixed address in any of the usual files counts, and no file is unknown."""
    assert verdict_on_linux("DHCP", {**NO_CLOUD_INIT, path: content}) is verdict


STATIC: dict[str, str | None] = {"/etc/network/interfaces": "iface eth0 inet static\n"}


@pytest.mark.rule("R20")
def test_cloud_init_manages_network() -> None:
    """Where Cloud-Init manages the network, fixed addresses are no obstacle."""
    assert verdict_on_linux("DHCP", STATIC) is OK


@pytest.mark.parametrize(
    "files",
    [
        {"/etc/cloud/cloud-init.disabled": ""},
        {"/etc/cloud/cloud.cfg.d/99.cfg": "network: {config: disabled}\n"},
        {"/etc/cloud/cloud.cfg.d/99.cfg": "network:\n  # by hand\n\n  config: disabled\n"},
    ],
)
@pytest.mark.rule("R20")
def test_cloud_init_leaves_network(files: dict[str, str | None]) -> None:
    """Where Cloud-Init is off, or set to leave the network alone, fixed addresses count."""
    assert verdict_on_linux("DHCP", STATIC | files) is MISSING


MOUNTING = {"/etc/fstab": "UUID=1 / ext4 x 0 1\nUUID=A /usr ext4 x 0 1\nUUID=c /mnt ext4 noauto 0 0\n"}


def test_mounted_file_system() -> None:
    """A file under a mount point is searched in the file system that the fstab mounts there."""
    tree = MountedTree(MemoryTree(MOUNTING), {"uuid=a": MemoryTree({"/bin/cloud-init": "x"})})
    assert tree.read("/usr/bin/cloud-init") == b"x"
    assert tree.names("/usr") == ["bin"]
    assert not tree.exists("/usr/bin/other")
    assert tree.exists("/etc/fstab")
    assert not tree.exists("/mnt/anything")


def test_unread_mount() -> None:
    """A file under a mount point whose file system is not read is unreadable, not absent."""
    tree = MountedTree(MemoryTree(MOUNTING), {})
    with pytest.raises(UnreadableError, match="UUID=A"):
        tree.exists("/usr/bin/cloud-init")
    findings = {finding.check: finding.verdict for finding in run_checks(linux.CHECKS, tree)}
    assert findings["CLOUD_INIT_INSTALLED"] is UNKNOWN


CLOUDBASE_INIT = "/Program Files/Cloudbase Solutions/Cloudbase-Init"
WINDOWS = {
    "/Windows/System32/config/SYSTEM": "regf",
    "/Windows/System32/drivers/viostor.sys": "MZ",
    "/Windows/servicing/Version/10.0.20348.1/x": "",
    f"{CLOUDBASE_INIT}/Python/Scripts/cloudbase-init.exe": "MZ",
    f"{CLOUDBASE_INIT}/conf/cloudbase-init.conf": "metadata_services=a.ConfigDriveService, HttpService\n",
}  # fmt: skip


def verdicts_on_windows(without: str = "") -> dict[str, Verdict]:
    """Return the verdicts on a prepared Windows without the files whose paths hold `without`."""
    tree = MemoryTree({path: text for path, text in WINDOWS.items() if not without or without not in path})
    return {finding.check: finding.verdict for finding in run_checks(windows.CHECKS, tree)}


@pytest.mark.rule("R21")
def test_windows() -> None:
    """A prepared Windows is known by its hive; only the checks of the registry are unknown."""
    tree = MemoryTree(WINDOWS)
    assert windows.has_windows(tree)
    assert windows.read_version(tree) == "10.0.20348.1"
    found = verdicts_on_windows()
    assert {check for check, verdict in found.items() if verdict is UNKNOWN} == {
        "WINDOWS_DHCP",
        "WINDOWS_SAN_POLICY",
    }
    assert MISSING not in found.values()


@pytest.mark.parametrize(
    ("check", "without"),
    [
        ("CLOUDBASE_INIT_INSTALLED", "cloudbase-init.exe"),
        ("CLOUDBASE_INIT_INSTALLED", "Cloudbase-Init"),
        ("WINDOWS_VIRTIO", "viostor"),
    ],
)
@pytest.mark.rule("R21")
def test_unprepared_windows(check: str, without: str) -> None:
    """A Windows without Cloudbase-Init or without VirtIO drivers lacks just that."""
    assert [name for name, verdict in verdicts_on_windows(without).items() if verdict is MISSING] == [check]


def test_not_windows() -> None:
    """A data volume of Windows is no system."""
    assert not windows.has_windows(MemoryTree({"/Users/x": ""}))
