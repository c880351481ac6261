"""Builds the disks of the demo and of the tests: offline, without privileges, without mounts.

Run as a program it builds the demo's set in a folder and prints the time each disk took.
The system disks hold the files that the check of a server's preparation reads, and real files of this
machine. They do not boot.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from uuid import UUID, uuid5

from tests.harness import gpt

MIB: Final = 1 << 20
ROOT_UUID: Final = UUID("3c1f0b52-8d0e-4c3a-9b77-2f4b6f0a1d01")
CONTENT_SOURCES: Final = ("/usr/lib", "/usr/share", "/usr/bin")

Variant = Literal["prepared", "unprepared"]
Table = Literal["gpt", "mbr", "none"]


class ToolMissingError(Exception):
    """A program that builds disks is not installed."""


@dataclass(frozen=True)
class Link:
    """A symbolic link to put into a file system."""

    target: str


@dataclass(frozen=True)
class SystemDisk:
    """A system disk that was made; sizes and offsets in bytes."""

    path: Path
    size_bytes: int
    root_offset: int
    content_bytes: int
    """The bytes of real content: fewer than requested only if this machine has fewer."""


Files = Mapping[str, str | bytes | Link | None]
"""The content at each absolute path; None removes the variant's file there."""


def system_files(
    variant: Variant, root_uuid: UUID = ROOT_UUID, hostname: str = "web-1"
) -> dict[str, str | Link]:
    """Return the files of a small Debian server by path, as they are once it is prepared, or before."""
    kernel = "6.1.0-28-amd64"
    files: dict[str, str | Link] = {
        "/usr/lib/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\n'
        'VERSION_ID="12"\nVERSION="12 (bookworm)"\nID=debian\n',
        "/etc/os-release": Link("../usr/lib/os-release"),
        "/etc/hostname": f"{hostname}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n",
        "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
        "/etc/network/interfaces": "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n",
        "/boot/grub/grub.cfg": f"linux /boot/vmlinuz-{kernel} root=UUID={root_uuid} ro console=ttyS0\n",
        "/etc/initramfs-tools/initramfs.conf": "MODULES=most\nCOMPRESS=zstd\n",
        f"/usr/lib/modules/{kernel}/kernel/drivers/block/virtio_blk.ko": "module\n",
        f"/usr/lib/modules/{kernel}/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
        "/bin": Link("usr/bin"),
        "/lib": Link("usr/lib"),
    }
    if variant == "prepared":
        return files | {
            "/etc/fstab": f"# <device> <mount> <type>\nUUID={root_uuid} / ext4 errors=remount-ro 0 1\n",
            "/usr/bin/cloud-init": "#!/usr/bin/python3\n",
            "/usr/lib/python3/dist-packages/cloudinit/__init__.py": "",
            "/usr/lib/systemd/system/cloud-init.service": "[Unit]\nDescription=Cloud-Init\n",
            "/etc/cloud/cloud.cfg": "users:\n  - default\ndisable_root: true\npreserve_hostname: false\n",
            "/etc/cloud/cloud.cfg.d/90_dpkg.cfg": "datasource_list: [ NoCloud, ConfigDrive, None ]\n",
        }
    return files | {
        "/etc/fstab": "/dev/sda1 / ext4 errors=remount-ro 0 1\n",
        "/etc/udev/rules.d/70-persistent-net.rules": 'SUBSYSTEM=="net", ACTION=="add", '
        'ATTR{address}=="52:54:00:12:34:56", NAME="eth0"\n',
    }


def make_system_disk(
    path: Path,
    size_bytes: int = 2048 * MIB,
    content_bytes: int = 300 * MIB,
    variant: Variant = "prepared",
    *,
    table: Table = "gpt",
    has_esp: bool = False,
    root_uuid: UUID = ROOT_UUID,
    hostname: str = "web-1",
    files: Files | None = None,
) -> SystemDisk:
    """Make a sparse raw system disk: a partition table, a boot partition (GPT only), and an ext4 root.

    `files` adds to, replaces or removes the files of the variant. Raises ToolMissingError without mke2fs.
    """
    boot = gpt.Slot(gpt.EFI_SYSTEM, MIB, 16 * MIB, "esp", uuid5(root_uuid, "boot"))
    if not has_esp:
        boot = gpt.Slot(gpt.BIOS_BOOT, MIB, MIB, "bios", uuid5(root_uuid, "boot"))
    first = {"gpt": boot.first + boot.length, "mbr": MIB, "none": 0}[table]
    length = size_bytes - first - (MIB if table == "gpt" else 0)
    with _new_raw_file(path, size_bytes) as fd:
        if table == "gpt":
            root = gpt.Slot(gpt.LINUX, first, length, "root", uuid5(root_uuid, "root"))
            gpt.write_gpt(fd, size_bytes, [boot, root], uuid5(root_uuid, "disk"))
        elif table == "mbr":
            gpt.write_mbr(fd, [gpt.Slot(gpt.MBR_LINUX, first, length)])
    with tempfile.TemporaryDirectory(dir=path.parent) as staging:
        wanted: dict[str, str | bytes | Link | None] = {
            **system_files(variant, root_uuid, hostname),
            **(files or {}),
        }
        _write_files(Path(staging), wanted)
        copied = _copy_real_content(Path(staging, "srv/content"), content_bytes)
        _make_ext4(path, first, length, Path(staging), root_uuid)
    return SystemDisk(path, size_bytes, first, copied)


def make_text_disk(
    path: Path, size_bytes: int = 1024 * MIB, content_bytes: int = 128 * MIB, seed: int = 1
) -> None:
    """Make a data disk that is one ext4 file system of log files: text that compresses well."""
    with _new_raw_file(path, size_bytes):
        pass
    with tempfile.TemporaryDirectory(dir=path.parent) as staging:
        logs = Path(staging, "logs")
        logs.mkdir()
        for number, text in enumerate(_log_text(content_bytes, seed)):
            (logs / f"{number:05}.log").write_bytes(text)
        _make_ext4(path, 0, size_bytes, Path(staging), uuid5(ROOT_UUID, f"text {seed}"))


def make_incompressible_disk(
    path: Path, size_bytes: int = 1024 * MIB, content_bytes: int = 128 * MIB, seed: int = 1
) -> None:
    """Make a data disk that begins with `content_bytes` of noise, the same for the same seed."""
    with _new_raw_file(path, size_bytes) as fd:
        for offset in range(0, content_bytes, MIB):
            block = hashlib.shake_128(f"{seed} {offset}".encode()).digest(min(MIB, content_bytes - offset))
            os.pwrite(fd, block, offset)


def make_iso_file(path: Path, size_bytes: int = MIB, seed: int = 1) -> None:
    """Make an ISO 9660 file: the descriptors of a disc without files, and noise behind them."""
    primary = b"\x01CD001\x01".ljust(2048, b"\0")
    terminator = b"\xffCD001\x01".ljust(2048, b"\0")
    start = bytes(32768) + primary + terminator
    path.write_bytes(start + random.Random(seed).randbytes(size_bytes - len(start)))


def to_qcow2(raw: Path, qcow2: Path, compressed: bool) -> None:
    """Convert a raw disk to qcow2. Raises ToolMissingError without qemu-img."""
    # zlib, the default, takes 13 s for 300 MiB where zstd takes 3 s.
    flags = ["-c", "-o", "compression_type=zstd"] if compressed else []
    program = find_program("qemu-img", "qemu-utils")
    _run([program, "convert", "-f", "raw", "-O", "qcow2", *flags, str(raw), str(qcow2)])


@contextmanager
def _new_raw_file(path: Path, size_bytes: int) -> Iterator[int]:
    with path.open("wb") as file:
        file.truncate(size_bytes)
        yield file.fileno()


def _write_files(root: Path, files: Files) -> None:
    for name, content in files.items():
        path = root / name.lstrip("/")
        if content is None:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def _copy_real_content(root: Path, content_bytes: int) -> int:
    """Copy files of this machine, in order of path, until `content_bytes` are there; cut the last."""
    left = content_bytes
    for source in _real_files():
        if left <= 0:
            break
        target = root / str(source).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, target)
        except OSError:
            continue  # readable only to another user, or gone since it was listed: the next will do
        size = target.stat().st_size
        if size > left:
            os.truncate(target, left)
        left -= min(size, left)
    return content_bytes - left


def _real_files() -> Iterator[Path]:
    for source in CONTENT_SOURCES:
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    yield path


def _log_text(content_bytes: int, seed: int) -> Iterator[bytes]:
    """Yield files of 1 MiB of log lines (the last one shorter), `content_bytes` in all."""
    chance = random.Random(seed)
    verbs = ("GET", "POST", "PUT", "DELETE")
    lines = [
        f'10.0.{chance.randrange(256)}.{chance.randrange(256)} - - "{chance.choice(verbs)} '
        f'/orders/{chance.randrange(10**6):06} 1.1" {chance.choice((200, 404))} {chance.randrange(9000)}\n'
        for _ in range(4096)
    ]
    for offset in range(0, content_bytes, MIB):
        text = "".join(chance.choices(lines, k=MIB // 40)).encode()
        yield text[: min(MIB, content_bytes - offset)]


def _make_ext4(path: Path, offset: int, length: int, content: Path, uuid: UUID) -> None:
    """Make an ext4 in place, with the tree at `content` in it. The file is sparse: nothing needs zeroing."""
    options = (
        f"offset={offset},root_owner=0:0,hash_seed={uuid},lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    )
    program = find_program("mke2fs", "e2fsprogs")
    _run([program, "-q", "-F", "-t", "ext4", "-b", "4096", "-U", str(uuid), "-E", options, "-d", str(content),
          str(path), f"{length // 1024}k"])  # fmt: skip


def find_program(name: str, package: str) -> str:
    """Return where a program is. Raises ToolMissingError, naming the Debian package that holds it."""
    # An ordinary user of Debian has no sbin in the path, though its programs run for every user.
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if found is None:
        raise ToolMissingError(f"{name} is not installed: install the package {package}")
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()}")


def main(folder: Path) -> None:
    """Build the demo's set of disks in `folder`, and print the time and space each took."""
    folder.mkdir(parents=True, exist_ok=True)
    web, old, logs, media = (folder / f"{name}.raw" for name in ("web", "old", "logs", "media"))
    steps: dict[Path, Callable[[], object]] = {
        web: lambda: make_system_disk(web),
        old: lambda: make_system_disk(old, variant="unprepared", hostname="old-1"),
        logs: lambda: make_text_disk(logs),
        media: lambda: make_incompressible_disk(media),
        folder / "web.qcow2": lambda: to_qcow2(web, folder / "web.qcow2", compressed=False),
        folder / "web-compressed.qcow2": lambda: to_qcow2(
            web, folder / "web-compressed.qcow2", compressed=True
        ),
    }
    for path, build in steps.items():
        start = time.monotonic()
        build()
        took = time.monotonic() - start
        print(f"{path.name:24} {took:6.2f} s {path.stat().st_blocks * 512 >> 20:6} MiB on disk")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
