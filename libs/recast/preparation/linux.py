"""The checks of a Linux system (R20)."""

from __future__ import annotations

import re

from recast.preparation import autostart, cloudinit, fstab, network
from recast.preparation.checks import Answer, FileCheck, decide, met, missing, unknown
from recast.preparation.content import UnreadableError
from recast.preparation.filetree import FileTree, TolerantTree, read_text, read_texts
from recast.preparation.instance import new_instance, seeded_addresses
from recast.preparation.kernelline import GRUB_CONFIGURATIONS, read_kernel_lines
from recast.preparation.report import Verdict
from recast.preparation.syntax import join_lines, parse_shell

_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
_KERNEL_MODULES = ("/usr/lib/modules", "/lib/modules")

# Names that the kernel gives in the order in which it finds disks, or that belong to one disk or slot.
_UNSTABLE_DEVICE = r"/dev/(?:(?:s|v|h|xv)d[a-z]|nvme\d|mmcblk\d|disk/by-(?:path|id)/)\S*"

_RULES = ("/etc/udev/rules.d", "/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")
# A pattern such as "00:50:56:*" is of a kind of interface, not of this server's.
_RULE_PIN = re.compile(r"""(?:address|ID_NET_NAME_MAC)\}?\s*==\s*"[^"*?\[]+["|]""")
_KERNEL_PIN = re.compile(r"(?:ifname=[^:]+:|BOOTIF=(?:01-)?)(?:[0-9A-Fa-f]{2}[:-]){5}")
_KERNEL_ADDRESS = re.compile(r"ip=(?:\d+\.\d+\.\d+\.\d+|\[[0-9A-Fa-f:]+\])(?:[:/]|$)")


def has_linux(tree: FileTree) -> bool:
    """Return whether this file system is the root of a Linux system.

    Raises UnreadableError only if nothing that could be read says so.
    """
    tolerant = TolerantTree(tree)
    is_root = any(tolerant.exists(path) for path in (*_OS_RELEASE, fstab.PATH))
    if not is_root and tolerant.problems:
        raise UnreadableError(tolerant.problems[0])
    return is_root


def read_os_release(tree: FileTree) -> dict[str, str]:
    """Return the variables of os-release(5)."""
    return _read_os_release(tree)[1]


def _read_os_release(tree: FileTree) -> tuple[str, dict[str, str]]:
    for path in _OS_RELEASE:
        text = read_text(tree, path)
        if text is not None:
            return path, parse_shell(text)
    return "", {}


def _check_os_release(tree: TolerantTree) -> Answer:
    path, values = _read_os_release(tree)
    if "ID" in values or "PRETTY_NAME" in values:
        name = values.get("PRETTY_NAME") or values["ID"]
        return met(f"{path} says {name}", by_absence=path != _OS_RELEASE[0])
    return missing("there is no os-release, or it names no system", by_absence=True)


def _check_datasource(tree: TolerantTree) -> Answer:
    if decide(autostart.installed, tree).verdict is not Verdict.OK:
        return unknown("Cloud-Init is not installed, or was not found")
    found = cloudinit.find_datasources(cloudinit.read_settings(tree))
    if found is None:
        return met("no datasource_list in /etc/cloud: Cloud-Init tries all it knows", by_absence=True)
    path, datasources = found
    if cloudinit.lacks_datasource(datasources):
        return missing(f"{path} allows no datasource")
    return met(f"{path} allows {', '.join(datasources)}")


def _check_fstab(tree: TolerantTree) -> Answer:
    text = read_text(tree, fstab.PATH)
    if text is None:
        return met(f"there is no {fstab.PATH}: nothing is mounted by a device's name", by_absence=True)
    mounts = [mount for mount in fstab.parse_fstab(text) if "noauto" not in mount.options]
    unstable = [f"{m.point} from {m.device}" for m in mounts if re.match(_UNSTABLE_DEVICE, m.device)]
    if unstable:
        return missing(f"{fstab.PATH} mounts {', '.join(unstable[:8])}")
    return met(f"none of the {len(mounts)} mounts in {fstab.PATH} names a device")


def _check_grub(tree: TolerantTree) -> Answer:
    texts = {path: text for path in GRUB_CONFIGURATIONS if (text := read_text(tree, path)) is not None}
    texts |= read_texts(tree, "/boot/loader/entries", (".conf",))
    for path, text in texts.items():
        named = re.search(rf"\broot=({_UNSTABLE_DEVICE})", text)
        if named:
            return missing(f"{path} starts the system with root={named[1]}")
    if not texts:
        return unknown(f"no boot loader's configuration: none of {', '.join(GRUB_CONFIGURATIONS)} is there")
    return met(f"{', '.join(list(texts)[:4])}: no root by a device's name", by_absence=True)


def _check_net_rules(tree: TolerantTree) -> Answer:
    configuring = decide(autostart.configures_network, tree)
    managed = configuring.verdict
    rules = [rule for directory in _RULES for rule in read_texts(tree, directory, (".rules",)).items()]
    paths = [path for path, text in rules if _pins_interface(text)]
    # Cloud-Init renews its own file (85-persistent-net-cloud-init.rules) on every new server.
    pins = [(path, "cloud-init" in path) for path in paths]
    pins += [(file.path, file.is_own) for file in network.read_network(tree) if file.addressing.macs]
    pinned = [path for path, is_own in pins if not is_own or _is_left(configuring)]
    pinned += [path for path, words in read_kernel_lines(tree) if any(_KERNEL_PIN.match(w) for w in words)]
    files, merged = cloudinit.find_network(cloudinit.read_settings(tree))
    if managed is not Verdict.MISSING and network.addressing_from_yaml(merged).macs:
        pinned += files
    if pinned:
        return missing(f"{_listed(pinned)} ties an interface to a MAC address of this server")
    if pins and managed is Verdict.UNKNOWN:
        return unknown(f"{pins[0][0]} names a MAC address, and whether Cloud-Init renews it was not read")
    return met(
        f"no file in {_RULES[0]} and none of the network's configuration ties an interface to a MAC address",
        by_absence=True,
    )


def _is_left(configuring: Answer) -> bool:
    """Return whether the files that Cloud-Init wrote stay as they are on a clone.

    Where Cloud-Init is just absent they do not count: its installation, which a check requires, renews them.
    """
    return configuring.verdict is Verdict.MISSING and not configuring.by_absence


def _listed(paths: list[str]) -> str:
    return ", ".join(list(dict.fromkeys(paths))[:8])


def _pins_interface(rules: str) -> bool:
    return any(re.search(r"NAME\s*:?=[^=]", line) and _RULE_PIN.search(line) for line in join_lines(rules))


def _check_dhcp(tree: TolerantTree) -> Answer:
    configuring = decide(autostart.configures_network, tree)
    managed = configuring.verdict
    if managed is not Verdict.MISSING and (fixed := _fixed_by_cloud_init(tree)):
        return missing(f"{_listed(fixed)} sets fixed addresses, which Cloud-Init gives to every clone")
    files = [file for file in network.read_network(tree) if not file.is_own or _is_left(configuring)]
    static = [file.path for file in files if file.addressing.has_static]
    static += [
        path for path, words in read_kernel_lines(tree) if any(_KERNEL_ADDRESS.match(w) for w in words)
    ]
    dhcp = [file.path for file in files if file.addressing.has_dhcp]
    if managed is Verdict.OK:
        return met(configuring.detail + (f", though {static[0]} is static" if static else ""))
    if static and managed is Verdict.UNKNOWN:
        return unknown(f"{static[0]} is static, and whether Cloud-Init configures the network is open: "
                       f"{configuring.detail}")  # fmt: skip
    if static:
        return missing(f"{_listed(static)} sets fixed addresses")
    if dhcp:
        return met(f"{_listed(dhcp)} uses DHCP", by_absence=True)
    return unknown(f"no configuration of a network interface was found in {', '.join(network.PLACES)}")


def _fixed_by_cloud_init(tree: TolerantTree) -> list[str]:
    """Return the files by which Cloud-Init gives the same addresses to every clone."""
    files, merged = cloudinit.find_network(cloudinit.read_settings(tree))
    fixed = files if network.addressing_from_yaml(merged).has_static else []
    return [*fixed, *seeded_addresses(tree)]


def _check_virtio(tree: TolerantTree) -> Answer:
    kernels = [f"{base}/{name}" for base in _KERNEL_MODULES for name in tree.names(base)][:16]
    if not kernels:
        return unknown("no kernel modules were found")
    without = [kernel for kernel in kernels if not _has_virtio(tree, kernel)]
    if without:
        return missing(f"{', '.join(without[:4])} has no virtio_blk", by_absence=True)
    if any("/virtio_blk.ko" in (read_text(tree, f"{kernel}/modules.builtin") or "") for kernel in kernels):
        return met(f"{kernels[0]} has virtio_blk built in")
    if _is_in_initramfs(tree):
        return met(f"{kernels[0]} has virtio_blk as a module, and the initramfs is configured to carry it")
    return unknown(f"{kernels[0]} has virtio_blk as a module; whether the initramfs carries it is not read")


def _has_virtio(tree: TolerantTree, kernel: str) -> bool:
    module = f"{kernel}/kernel/drivers/block/virtio_blk.ko"
    if any(tree.exists(module + suffix) for suffix in ("", ".xz", ".zst", ".gz")):
        return True
    return "/virtio_blk.ko" in (read_text(tree, f"{kernel}/modules.builtin") or "")


def _is_in_initramfs(tree: TolerantTree) -> bool:
    """Return whether the initramfs is made with every driver (Debian's default) or with this one by name."""
    settings = read_text(tree, "/etc/initramfs-tools/initramfs.conf") or ""
    named = [read_text(tree, "/etc/initramfs-tools/modules") or "", read_text(tree, "/etc/dracut.conf") or ""]
    named += read_texts(tree, "/etc/dracut.conf.d", (".conf",)).values()
    named += read_texts(tree, "/usr/lib/dracut/dracut.conf.d", (".conf",)).values()
    if re.search(r"^[ \t]*MODULES=most\b", settings, re.MULTILINE):
        return True
    return any(re.search(r"^[^#\n]*\bvirtio_blk\b", text, re.MULTILINE) for text in named)


CHECKS = (
    FileCheck("OS_RELEASE", False, "Restore /etc/os-release, which names the system.", _check_os_release),
    FileCheck(
        "CLOUD_INIT_INSTALLED",
        True,
        "Install the package cloud-init on the source server.",
        autostart.installed,
    ),
    FileCheck(
        "CLOUD_INIT_ENABLED",
        True,
        "Remove on the source server what the finding names, and enable the services of cloud-init.",
        autostart.enabled,
    ),
    FileCheck(
        "CLOUD_INIT_DATASOURCE",
        False,
        "List the datasource of the target platform in datasource_list under /etc/cloud/cloud.cfg.d.",
        _check_datasource,
    ),
    FileCheck(
        "CLOUD_INIT_NEW_INSTANCE",
        False,
        "Remove the fixed instance-id, or run cloud-init clean, on the source server.",
        new_instance,
    ),
    FileCheck(
        "FSTAB_BY_UUID", True, "Name every device in /etc/fstab by UUID= (blkid shows it).", _check_fstab
    ),
    FileCheck("GRUB_BY_UUID", False, "Let GRUB name the root by UUID, then run update-grub.", _check_grub),
    FileCheck(
        "NO_PERSISTENT_NET_RULES",
        True,
        "Remove these files, or the MAC addresses in them, on the source server.",
        _check_net_rules,
    ),
    FileCheck(
        "DHCP", True, "Configure every interface with DHCP, or leave the network to Cloud-Init.", _check_dhcp
    ),
    FileCheck(
        "VIRTIO",
        False,
        "Install a kernel with VirtIO drivers and put them into its initramfs.",
        _check_virtio,
    ),
)
