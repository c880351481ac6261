"""Any sequence of writes, freezes and thaws preserves every byte."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from recast.diskimage import DiskHost

CLUSTER = 64 << 10
SIZE = 8 * CLUSTER

writes = st.tuples(
    st.sampled_from(["write", "zero", "discard"]),
    st.integers(0, 7).map(lambda number: number * CLUSTER),
    st.integers(1, 3).map(lambda number: number * CLUSTER),
)
operations = st.lists(st.one_of(writes, st.just(("freeze", 0, 0)), st.just(("thaw", 0, 0))), max_size=10)


# Each example starts about ten processes; no deadline, for the first pays for the cold cache.
@settings(max_examples=10, deadline=None)
@given(operations=operations)
def test_any_sequence_preserves_disk_freeze_and_changes(operations, guest_of):
    """After each operation disk, open freeze and its changed extents equal the model's."""
    with tempfile.TemporaryDirectory() as folder:
        disk = DiskHost(Path(folder)).disk("d")
        disk.create(SIZE, None)
        guest = guest_of(disk)
        instant, changed, changed_at_freeze = bytes(SIZE), set[int](), set[int]()
        for number, (kind, offset, length) in enumerate(operations):
            current = disk.unmerged_freeze()
            if kind == "freeze" and current is None:
                disk.freeze(f"f{number}")
                instant, changed_at_freeze, changed = bytes(guest.model), changed, set()
            elif kind == "thaw" and current is not None:
                disk.thaw(current)
            elif kind == "write":
                guest.write(offset, min(length, SIZE - offset), number + 1)
            elif kind in ("zero", "discard"):
                getattr(guest, kind)(offset, min(length, SIZE - offset))
            if length:
                changed |= set(range(offset, min(offset + length, SIZE), CLUSTER))
            if (freeze_id := disk.unmerged_freeze()) is not None:
                with disk.frozen_reader(freeze_id) as reader:
                    assert reader.pread(0, SIZE) == instant
                seen = {
                    at
                    for start, size in disk.changed_extents(freeze_id)
                    for at in range(start, start + size, CLUSTER)
                }
                # Zeros over a range that never held data need no record, in a disk without a base.
                assert seen <= changed_at_freeze
                assert all(not any(instant[at : at + CLUSTER]) for at in changed_at_freeze - seen)
        with disk.reader() as reader:
            assert reader.pread(0, SIZE) == guest.model
        assert disk.check() == []
