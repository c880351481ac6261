"""The problems of a disk as sentences for people: for `recast doctor`."""

import os
from collections.abc import Iterator
from itertools import pairwise

from recast.diskimage import qemu_img
from recast.diskimage.bases import Bases
from recast.diskimage.chain import Chain
from recast.diskimage.errors import DiskBusy, DiskImageError
from recast.diskimage.names import is_ours, mark_name
from recast.diskimage.qcow2_header import read_header


def left_over(chain: Chain) -> list[str]:
    """Return the files of a disk's folder with names of this format that are neither chain nor mark."""
    return sorted(name for name in _beside(chain) if is_ours(name))


def sweep(chain: Chain) -> None:
    """Remove leftovers of killed actions beside the chain and its mark."""
    for name in left_over(chain):
        (chain.folder / name).unlink()


def problems(chain: Chain, bases: Bases) -> Iterator[str]:
    """Yield each problem of a disk whose chain can be read; none when it is healthy."""
    for name in sorted(_beside(chain)):
        yield f"{name} is left over by a killed action" if is_ours(name) else f"{name} does not belong here"
    yield from _size_problems(chain, bases)
    for name in chain.file_names:
        try:
            broken = qemu_img.check(chain.folder / name)
        except DiskBusy:
            continue  # its metadata is in a hypervisor's memory: it can be checked only when closed
        except DiskImageError as error:
            broken = str(error)
        if broken is not None:
            yield f"{name}: {broken}"


def _beside(chain: Chain) -> set[str]:
    mark = [mark_name(chain.freeze_ids[0])] if chain.is_marked else []
    return set(os.listdir(chain.folder)).difference(chain.file_names, mark)


def _size_problems(chain: Chain, bases: Bases) -> Iterator[str]:
    """Yield violations of FORMAT.md's 6, and a missing or writable base."""
    sizes = [(name, read_header(chain.folder / name).size_bytes) for name in chain.file_names]
    if chain.base is not None:
        try:
            base = bases.file(chain.base).stat()
        except FileNotFoundError:
            yield f"its base {chain.base} is missing"
        else:
            sizes.append((f"base {chain.base}", base.st_size))
            if base.st_mode & 0o222:
                yield f"its base {chain.base} is not read-only"
    for (upper, upper_bytes), (lower, lower_bytes) in pairwise(sizes):
        if upper_bytes < lower_bytes:
            yield f"{upper} of {upper_bytes} bytes is smaller than {lower} of {lower_bytes} beneath it"
