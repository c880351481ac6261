"""The checks of a Linux system (R20)."""

from __future__ import annotations

import re

from recast.preparation import cloudinit, fstab, network
from recast.preparation.checks import Answer, FileCheck, met, missing, unknown
from recast.preparation.filetree import FileTree, read_text, read_texts

_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
_GRUB_CONFIGURATIONS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
_KERNEL_MODULES = ("/usr/lib/modules", "/lib/modules")

# Names that the kernel gives in the order in which it finds disks, or that belong to one disk or slot.
_UNSTABLE_DEVICE = r"/dev/(?:(?:s|v|h|xv)d[a-z]|nvme\d|mmcblk\d|disk/by-(?:path|id)/)\S*"


def has_linux(tree: FileTree) -> bool:
    """Return whether this file system is the root of a Linux system."""
    return any(tree.exists(path) for path in (*_OS_RELEASE, fstab.PATH))


def read_os_release(tree: FileTree) -> dict[str, str]:
    """Return the variables of os-release(5)."""
    text = next((text for path in _OS_RELEASE if (text := read_text(tree, path)) is not None), "")
    variables = re.findall(r"^([A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    return {key: value.strip().strip("\"'") for key, value in variables}


def _check_os_release(tree: FileTree) -> Answer:
    values = read_os_release(tree)
    if "ID" in values or "PRETTY_NAME" in values:
        return met(f"os-release says {values.get('PRETTY_NAME') or values['ID']}")
    return missing("there is no os-release, or it names no system")


def _check_installed(tree: FileTree) -> Answer:
    program = cloudinit.find_program(tree)
    if program is not None:
        return met(f"{program} is there")
    left = "; /etc/cloud/cloud.cfg is left of it" if tree.exists("/etc/cloud/cloud.cfg") else ""
    return missing(f"none of {', '.join(cloudinit.PROGRAMS)} is there{left}")


def _check_enabled(tree: FileTree) -> Answer:
    if cloudinit.find_program(tree) is None:
        return unknown("Cloud-Init is not installed")
    if tree.exists(cloudinit.DISABLED):
        return missing(f"{cloudinit.DISABLED} is there: Cloud-Init will not run")
    return met(f"{cloudinit.DISABLED} is not there")


def _check_datasource(tree: FileTree) -> Answer:
    if cloudinit.find_program(tree) is None:
        return unknown("Cloud-Init is not installed")
    found = cloudinit.find_datasources(cloudinit.read_configuration(tree))
    if found is None:
        return met("no datasource_list: Cloud-Init tries all it knows")
    path, datasources = found
    if set(datasources) <= {"None"}:
        return missing(f"{path} allows no datasource")
    return met(f"{path} allows {', '.join(datasources)}")


def _check_fstab(tree: FileTree) -> Answer:
    text = read_text(tree, fstab.PATH)
    if text is None:
        return met(f"there is no {fstab.PATH}: nothing is mounted by a device's name")
    mounts = [mount for mount in fstab.parse_fstab(text) if "noauto" not in mount.options]
    unstable = [f"{m.point} from {m.device}" for m in mounts if re.match(_UNSTABLE_DEVICE, m.device)]
    if unstable:
        return missing(f"{fstab.PATH} mounts {', '.join(unstable[:8])}")
    return met(f"none of the {len(mounts)} mounts in {fstab.PATH} names a device")


def _check_grub(tree: FileTree) -> Answer:
    texts = {path: text for path in _GRUB_CONFIGURATIONS if (text := read_text(tree, path)) is not None}
    texts |= read_texts(tree, "/boot/loader/entries", (".conf",))
    for path, text in texts.items():
        named = re.search(rf"\broot=({_UNSTABLE_DEVICE})", text)
        if named:
            return missing(f"{path} starts the system with root={named[1]}")
    if not texts:
        return unknown(f"no boot loader's configuration: none of {', '.join(_GRUB_CONFIGURATIONS)} is there")
    return met(f"{', '.join(list(texts)[:4])}: no root by a device's name")


def _check_net_rules(tree: FileTree) -> Answer:
    rules = read_texts(tree, "/etc/udev/rules.d", (".rules",)).items()
    # Cloud-Init renews its own file (85-persistent-net-cloud-init.rules) on every new server.
    pinned = [path for path, text in rules if "cloud-init" not in path and _pins_interface(text)]
    links = read_texts(tree, "/etc/systemd/network", (".link",)).items()
    pinned += [
        path for path, text in links if re.search(r"^\s*(?:Permanent)?MACAddress\s*=", text, re.MULTILINE)
    ]
    if pinned:
        return missing(
            f"{', '.join(pinned[:8])} ties the names of interfaces to the MAC addresses of this server"
        )
    return met(
        "no rule in /etc/udev/rules.d or /etc/systemd/network ties an interface's name to a MAC address"
    )


def _pins_interface(rules: str) -> bool:
    lines = (line for line in rules.splitlines() if not line.lstrip().startswith("#"))
    return any(re.search(r"NAME\s*:?=[^=]", line) and re.search(r"address\}?\s*==", line) for line in lines)


def _check_dhcp(tree: FileTree) -> Answer:
    files = list(network.read_network(tree))
    static = [path for path, addressing in files if addressing.has_static]
    dhcp = [path for path, addressing in files if addressing.has_dhcp]
    if cloudinit.manages_network(tree):
        return met(
            f"Cloud-Init configures the network{', though ' + static[0] + ' is static' if static else ''}"
        )
    if static:
        return missing(f"{', '.join(static[:8])} sets fixed addresses")
    if dhcp:
        return met(f"{', '.join(dhcp[:8])} uses DHCP")
    return unknown("no configuration of a network interface was found")


def _check_virtio(tree: FileTree) -> Answer:
    kernels = [f"{base}/{name}" for base in _KERNEL_MODULES for name in tree.names(base)][:16]
    if not kernels:
        return unknown("no kernel modules were found")
    without = [kernel for kernel in kernels if not _has_virtio(tree, kernel)]
    if without:
        return missing(f"{', '.join(without[:4])} has no virtio_blk")
    if any("/virtio_blk.ko" in (read_text(tree, f"{kernel}/modules.builtin") or "") for kernel in kernels):
        return met(f"{kernels[0]} has virtio_blk built in")
    if _is_in_initramfs(tree):
        return met(f"{kernels[0]} has virtio_blk as a module, and the initramfs is configured to carry it")
    return unknown(f"{kernels[0]} has virtio_blk as a module; whether the initramfs carries it is not read")


def _has_virtio(tree: FileTree, kernel: str) -> bool:
    module = f"{kernel}/kernel/drivers/block/virtio_blk.ko"
    if any(tree.exists(module + suffix) for suffix in ("", ".xz", ".zst", ".gz")):
        return True
    return "/virtio_blk.ko" in (read_text(tree, f"{kernel}/modules.builtin") or "")


def _is_in_initramfs(tree: FileTree) -> bool:
    """Return whether the initramfs is made with every driver (Debian's default) or with this one by name."""
    settings = read_text(tree, "/etc/initramfs-tools/initramfs.conf") or ""
    named = [read_text(tree, "/etc/initramfs-tools/modules") or "", read_text(tree, "/etc/dracut.conf") or ""]
    named += read_texts(tree, "/etc/dracut.conf.d", (".conf",)).values()
    named += read_texts(tree, "/usr/lib/dracut/dracut.conf.d", (".conf",)).values()
    if re.search(r"^\s*MODULES=most\b", settings, re.MULTILINE):
        return True
    return any(re.search(r"^[^#\n]*\bvirtio_blk\b", text, re.MULTILINE) for text in named)


CHECKS = (
    FileCheck("OS_RELEASE", False, "Restore /etc/os-release, which names the system.", _check_os_release),
    FileCheck(
        "CLOUD_INIT_INSTALLED", True, "Install the package cloud-init on the source server.", _check_installed
    ),
    FileCheck(
        "CLOUD_INIT_ENABLED", True, f"Remove {cloudinit.DISABLED} on the source server.", _check_enabled
    ),
    FileCheck(
        "CLOUD_INIT_DATASOURCE",
        False,
        "List the datasource of the target platform in datasource_list under /etc/cloud/cloud.cfg.d.",
        _check_datasource,
    ),
    FileCheck(
        "FSTAB_BY_UUID", True, "Name every device in /etc/fstab by UUID= (blkid shows it).", _check_fstab
    ),
    FileCheck("GRUB_BY_UUID", False, "Let GRUB name the root by UUID, then run update-grub.", _check_grub),
    FileCheck("NO_PERSISTENT_NET_RULES", True, "Remove these files on the source server.", _check_net_rules),
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
