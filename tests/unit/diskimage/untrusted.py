"""Files as strangers send them: qcow2 files by qemu-img, whose fields are then overwritten."""

import random
import struct
import subprocess
from pathlib import Path

from recast.diskimage import open_imported

KIB = 1 << 10
MIB = 1 << 20
CLUSTER = 64 * KIB
LIMIT = 1 << 30
IS_COMPRESSED = 1 << 62
OFFSET = 0x00FFFFFFFFFFFE00


def qemu_img(*arguments: str | Path) -> None:
    """Run qemu-img as a stranger would."""
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def noise(length: int) -> bytes:
    """Bytes that do not repeat."""
    return random.Random(length).randbytes(length)


def qcow2(path: Path, content: bytes, *options: str) -> Path:
    """A qcow2 with this content, made by `qemu-img convert` with these options."""
    raw = path.with_suffix(".content")
    raw.write_bytes(content)
    qemu_img("convert", *options, "-f", "raw", "-O", "qcow2", raw, path)
    return path


def patch(path: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def word(path: Path, offset: int) -> int:
    """The number of 64 bits at an offset."""
    return int(struct.unpack(">Q", path.read_bytes()[offset : offset + 8])[0])


def put_words(path: Path, offset: int, *words: int) -> None:
    """Overwrite numbers of 64 bits."""
    patch(path, offset, struct.pack(f">{len(words)}Q", *words))


def l1_table(path: Path) -> int:
    """The offset of the L1 table."""
    return word(path, 40)


def l2_table(path: Path, number: int = 0) -> int:
    """The offset of an L2 table."""
    return word(path, l1_table(path) + 8 * number) & OFFSET


def imported(path: Path, scratch: Path, image_format: str = "qcow2") -> bytes:
    """The disk that an import makes of a file."""
    with open_imported(path, image_format, scratch) as reader:  # type: ignore[arg-type]
        content = bytearray(reader.size_bytes)
        for offset, length in reader.data_extents():
            content[offset : offset + length] = reader.pread(offset, length)
        assert bytes(content) == reader.pread(0, reader.size_bytes)
        return bytes(content)
