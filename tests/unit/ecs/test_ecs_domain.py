"""The rules of ECS as values: states, power, attachments, batches, sizes."""

import itertools
from typing import Any

import pytest

from ecs.domain import batch
from ecs.domain import disk as disks
from ecs.domain import freeze as freezes
from ecs.domain import server as servers
from ecs.domain.batch import ImageDisk, RequestedDisk
from ecs.domain.disk import Disk, DiskEvent, DiskState
from ecs.domain.freeze import Freeze, FreezeEvent, FreezeState
from ecs.domain.refusals import (
    CountExceeded,
    DiskAlreadyAttached,
    DiskInUse,
    DiskNotAttached,
    DiskStateForbids,
    FreezeNotFound,
    ImageDiskUnknown,
    ImageKindUnsupported,
    RestoreTargetInvalid,
    ServerFrozen,
    ServerInImageCreation,
    ServerNameInvalid,
    ServerStateForbids,
    SizeBelowImage,
    SystemDiskBound,
)
from ecs.domain.restore import FittingDisk, check_restore
from ecs.domain.server import Server, ServerEvent, ServerState
from recast.ecs.v1 import disk_pb2, server_pb2
from recast.faults import RequestInvalid, Unavailable

SYSTEM = ImageDisk("i", "system", is_system=True, position=0, display_name="s", size_bytes=2048, base="b0")
FIRST = ImageDisk("i", "data-1", is_system=False, position=1, display_name="logs", size_bytes=1024, base="b1")
THIRD = ImageDisk("i", "data-3", is_system=False, position=3, display_name="media", size_bytes=512, base="b3")
TABLES: list[tuple[Any, Any, Any, Any]] = [
    (ServerState, ServerEvent, servers.TRANSITIONS, server_pb2.ServerState),
    (DiskState, DiskEvent, disks.TRANSITIONS, disk_pb2.DiskState),
]


def disk(state: DiskState = DiskState.AVAILABLE, **changes: Any) -> Disk:
    """A data disk."""
    return Disk("d", state, **{"is_system": False, "shared": False} | changes)


def requested(**changes: Any) -> RequestedDisk:
    """A data disk of a request."""
    given = {"image_disk": "", "image": "", "size_bytes": 0, "shared": False, "display_name": ""} | changes
    return RequestedDisk(**given)


@pytest.mark.parametrize(("states", "events", "table", "contract"), TABLES)
def test_the_states_are_the_contracts(states: Any, events: Any, table: Any, contract: Any) -> None:
    """The domain's states are those of the contract's enum, by name."""
    names = {name.partition("_STATE_")[2] for name in contract.keys()}  # noqa: SIM118  # an enum wrapper is no dict
    assert {state.value for state in states} == names - {"UNSPECIFIED"}


@pytest.mark.parametrize(("states", "events", "table", "contract"), TABLES)
def test_every_state_is_reached_every_event_happens_and_deleting_ends(
    states: Any, events: Any, table: Any, contract: Any
) -> None:
    """From CREATING every state is reached, no event is without a transition, and from DELETING a failure
    alone

    leads.
    """
    assert {states.CREATING, *table.values()} == set(states)
    assert {event for _, event in table} == set(events)
    assert {before for before, _ in table} == set(states)
    assert [event for before, event in table if before == states.DELETING] == [events.FAILED]


@pytest.mark.parametrize(("state", "event"), list(itertools.product(ServerState, ServerEvent)))
def test_a_server_advances_by_the_table_alone(state: ServerState, event: ServerEvent) -> None:
    """Every pair of state and event that is not in the table is refused."""
    wanted = servers.TRANSITIONS.get((state, event))
    if wanted is not None:
        assert servers.advance(Server("s", state), event) is wanted
        return
    with pytest.raises(ServerStateForbids):
        servers.advance(Server("s", state), event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(DiskState, DiskEvent)))
def test_a_disk_advances_by_the_table_alone(state: DiskState, event: DiskEvent) -> None:
    """Every pair of state and event that is not in the table is refused."""
    wanted = disks.TRANSITIONS.get((state, event))
    if wanted is not None:
        assert disks.advance(disk(state), event) is wanted
        return
    with pytest.raises(DiskStateForbids):
        disks.advance(disk(state), event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(FreezeState, FreezeEvent)))
@pytest.mark.rule("R13")
def test_a_freeze_advances_by_the_table_alone(state: FreezeState, event: FreezeEvent) -> None:
    """Every pair of state and event that is not in the table is refused."""
    wanted = freezes.TRANSITIONS.get((state, event))
    if wanted is not None:
        assert freezes.advance(Freeze("s", "f", "b", state), event) is wanted
        return
    with pytest.raises(FreezeNotFound):
        freezes.advance(Freeze("s", "f", "b", state), event)


def test_every_state_of_a_freeze_is_reached_and_thawed_is_a_tombstone() -> None:
    """From FREEZING every state is reached, every event happens, and THAWED has no exit."""
    assert {FreezeState.FREEZING, *freezes.TRANSITIONS.values()} == set(FreezeState)
    assert {event for _, event in freezes.TRANSITIONS} == set(FreezeEvent)
    exits = {before for (before, _), after in freezes.TRANSITIONS.items() if before is not after}
    assert exits == set(FreezeState) - {FreezeState.THAWED}


@pytest.mark.parametrize("state", FreezeState)
def test_the_disks_of_a_freeze_are_read_while_it_is_frozen(state: FreezeState) -> None:
    """The disks of a freeze are read in the state FROZEN alone."""
    freeze = Freeze("s", "f", "b", state)
    if state is FreezeState.FROZEN:
        freezes.check_frozen(freeze)
        return
    with pytest.raises(FreezeNotFound):
        freezes.check_frozen(freeze)


@pytest.mark.rule("R23")
def test_a_held_server_is_not_started_and_every_image_is_named() -> None:
    """A stopped server starts; one that images are made from does not, and each image is named."""
    assert servers.decide_start(Server("s", ServerState.STOPPED)) is ServerState.STARTING
    with pytest.raises(ServerInImageCreation) as caught:
        servers.decide_start(Server("s", ServerState.STOPPED, holds=["a", "b"]))
    assert [each.resource for each in caught.value.violations] == ["a", "b"]
    with pytest.raises(ServerStateForbids):
        servers.decide_start(Server("s", ServerState.RUNNING, holds=["a"]))


@pytest.mark.parametrize("state", ServerState)
def test_disks_come_and_go_at_a_server_that_runs_or_is_stopped(state: ServerState) -> None:
    """Disks are attached, and a freeze begins, at a RUNNING or STOPPED server alone; never while it is
    frozen.
    """
    if state in {ServerState.RUNNING, ServerState.STOPPED}:
        servers.check_changeable(Server("s", state))
        servers.decide_freeze(Server("s", state))
    else:
        for decide in (servers.check_changeable, servers.decide_freeze):
            with pytest.raises(ServerStateForbids):
                decide(Server("s", state))
    with pytest.raises(ServerFrozen):
        servers.check_changeable(Server("s", state, frozen_for="b"))


@pytest.mark.parametrize("event", [each for each in ServerEvent if each.endswith("begun")])
def test_nothing_begins_at_a_server_while_a_disk_is_attached_or_detached(event: ServerEvent) -> None:
    """While a disk is being attached or detached its server is not started, stopped, changed, restored or
    deleted, and each such disk is named; other disks may be attached, and a freeze is tried again.
    """
    changing = {"a": DiskState.ATTACHING, "d": DiskState.DETACHING}
    for state in [state for state, of in servers.TRANSITIONS if of is event]:
        with pytest.raises(DiskStateForbids) as caught:
            servers.advance(Server("s", state, changing_disks=changing), event)
        assert [each.resource for each in caught.value.violations] == ["a", "d"]
    server = Server("s", ServerState.RUNNING, changing_disks=changing)
    servers.check_changeable(server)
    with pytest.raises(Unavailable):
        servers.decide_freeze(server)


@pytest.mark.parametrize("state", DiskState)
def test_a_disk_is_attached_when_it_is_there(state: DiskState) -> None:
    """A disk that is being made, attached, detached or deleted, or is in ERROR, is not attached."""
    if state in {DiskState.AVAILABLE, DiskState.IN_USE}:
        assert disks.decide_attachment(disk(state), "s") is DiskState.ATTACHING
        return
    with pytest.raises(DiskStateForbids):
        disks.decide_attachment(disk(state), "s")


def test_a_disk_is_attached_once_a_shared_one_to_each_once_a_system_disk_never() -> None:
    """An attached disk is not attached again, unless it is shared and to another server."""
    used = disk(DiskState.IN_USE, servers=["a"])
    for server in ("a", "b"):
        with pytest.raises(DiskAlreadyAttached):
            disks.decide_attachment(used, server)
    shared = disk(DiskState.IN_USE, shared=True, servers=["a"])
    assert disks.decide_attachment(shared, "b") is DiskState.ATTACHING
    with pytest.raises(DiskAlreadyAttached):
        disks.decide_attachment(shared, "a")
    with pytest.raises(SystemDiskBound):
        disks.decide_attachment(disk(is_system=True), "a")


def test_a_disk_is_free_when_its_last_server_let_it_go() -> None:
    """A shared disk stays IN_USE while another server has it. A system disk or an unattached disk is not
    detached.
    """
    assert disks.decide_detachment(disk(DiskState.IN_USE, servers=["a"]), "a") is DiskState.DETACHING
    for state in (DiskState.ATTACHING, DiskState.DETACHING):
        assert disks.decide_attachment_end(disk(state)) is DiskState.AVAILABLE
        assert disks.decide_attachment_end(disk(state, shared=True, servers=["b"])) is DiskState.IN_USE
        with pytest.raises(DiskStateForbids):
            disks.decide_detachment(disk(state, servers=["a"]), "a")
    with pytest.raises(DiskNotAttached):
        disks.decide_detachment(disk(DiskState.IN_USE, servers=["a"]), "b")
    with pytest.raises(SystemDiskBound):
        disks.decide_detachment(disk(DiskState.IN_USE, is_system=True, servers=["a"]), "a")


def test_an_attached_disk_is_not_deleted_and_each_server_is_named() -> None:
    """A disk that is attached is not deleted, and every server that has it is named."""
    assert disks.decide_deletion(disk()) is DiskState.DELETING
    with pytest.raises(DiskInUse) as caught:
        disks.decide_deletion(disk(DiskState.IN_USE, shared=True, servers=["a", "b"]))
    assert [each.resource for each in caught.value.violations] == ["a", "b"]
    with pytest.raises(SystemDiskBound):
        disks.decide_deletion(disk(DiskState.IN_USE, is_system=True, servers=["a"]))


@pytest.mark.parametrize("size", [0, -512, 1, 511, 513, disks.MAX_DISK_BYTES + 512])
def test_a_size_is_of_whole_sectors_within_the_limit(size: int) -> None:
    """Sizes are multiples of 512 bytes from 512 to 32 TiB."""
    for good in (512, disks.MAX_DISK_BYTES):
        disks.check_size(good, "f")
    with pytest.raises(RequestInvalid) as caught:
        disks.check_size(size, "f")
    assert [each.field for each in caught.value.fields] == ["f"]


@pytest.mark.parametrize(
    ("position", "name"), [(0, "vda"), (1, "vdb"), (25, "vdz"), (26, "vdaa"), (59, "vdbh")]
)
def test_devices_are_named_by_position(position: int, name: str) -> None:
    """The device's name counts like the columns of a sheet."""
    assert disks.device_name(position) == name


@pytest.mark.parametrize(
    ("base", "count", "wanted"),
    [
        ("web", 0, ["web"]),
        ("web", 1, ["web"]),
        ("web-0007", 1, ["web-0007"]),
        ("web", 2, ["web-0000", "web-0001"]),
        ("web-0007", 2, ["web-0007", "web-0008"]),
        ("web-007", 2, ["web-007-0000", "web-007-0001"]),
        ("x-9998", 2, ["x-9998", "x-9999"]),
    ],
)
@pytest.mark.rule("R14")
def test_the_names_of_a_batch_are_counted(base: str, count: int, wanted: list[str]) -> None:
    """One server has the plain name; more get four digits, counted on from the existing ones."""
    assert batch.plan_names(base, count, "f") == wanted


def test_a_batch_has_room_for_its_numbers_and_at_most_a_hundred() -> None:
    """A stem of 59 characters is the longest, 9999 the last number, 100 the most servers."""
    assert len(batch.plan_names("a" * 59, 100, "f")) == 100
    for base, count in (("a" * 60, 2), ("x-9999", 2)):
        with pytest.raises(ServerNameInvalid):
            batch.plan_names(base, count, "f")
    with pytest.raises(CountExceeded):
        batch.plan_names("x", 101, "f")


@pytest.mark.rule("R12", "R39")
def test_every_disk_of_the_image_comes_in_its_place_and_added_ones_after_the_last() -> None:
    """The image's disks have their places, gaps too; named ones are as requested; others are added behind."""
    extra = ImageDisk(
        "data", "data-1", is_system=False, position=1, display_name="seed", size_bytes=512, base="bx"
    )
    plan = batch.plan_disks(
        [THIRD, SYSTEM, FIRST],
        4096,
        [
            requested(size_bytes=512),
            requested(image_disk="data-3", size_bytes=1024, shared=True),
            requested(image="data"),
        ],
        {"data": extra},
    )
    assert [(each.position, each.size_bytes, each.shared, each.source) for each in plan] == [
        (0, 4096, False, SYSTEM),
        (1, 1024, False, FIRST),
        (3, 1024, True, THIRD),
        (4, 512, False, None),
        (5, 512, False, extra),
    ]
    assert [each.display_name for each in plan] == ["", "logs", "media", "", "seed"]


@pytest.mark.parametrize(
    ("system_bytes", "requests", "field"),
    [
        (1024, [], "system_disk.size_bytes"),
        (0, [requested(image_disk="data-1", size_bytes=512)], "data_disks[0].size_bytes"),
        (0, [requested(size_bytes=512), requested(image="data", size_bytes=512)], "data_disks[1].size_bytes"),
    ],
)
def test_sizes_only_grow(system_bytes: int, requests: list[RequestedDisk], field: str) -> None:
    """A disk smaller than its source is refused, and its field named (V2)."""
    data = {
        "data": ImageDisk(
            "data", "data-1", is_system=False, position=1, display_name="", size_bytes=1024, base="b"
        )
    }
    with pytest.raises(SizeBelowImage) as caught:
        batch.plan_disks([SYSTEM, FIRST], system_bytes, requests, data)
    assert [each.field for each in caught.value.fields] == [field]


@pytest.mark.parametrize("names", [["data-2"], ["system"], ["data-1", "data-1"]])
def test_a_request_names_the_images_data_disks_each_once(names: list[str]) -> None:
    """A disk that the image does not have, its system disk, or one named twice, is refused (V3)."""
    with pytest.raises(ImageDiskUnknown):
        batch.plan_disks([SYSTEM, FIRST], 0, [requested(image_disk=name) for name in names], {})


@pytest.mark.rule("R49", "R50")
def test_each_kind_serves_for_its_own_use() -> None:
    """Servers are made from system disks and whole servers, disks from data disks."""
    for good in ("SYSTEM_DISK", "FULL_SERVER"):
        batch.check_kind("i", good)
        with pytest.raises(ImageKindUnsupported):
            batch.check_data_kind("i", good, "image")
    batch.check_data_kind("i", "DATA_DISK", "image")
    for bad in ("DATA_DISK", "ISO"):
        with pytest.raises(ImageKindUnsupported):
            batch.check_kind("i", bad)


def test_every_problem_of_a_restore_is_named() -> None:
    """Contents are written to attached disks of their role, not shared and no smaller; every problem comes at
    once.
    """
    contents = [
        FittingDisk(name, is_system=name == "system", size_bytes=512) for name in ("system", "a", "b", "c")
    ]
    attached = [
        FittingDisk("d0", is_system=False, size_bytes=512),
        FittingDisk("d1", is_system=False, size_bytes=512, shared=True),
        FittingDisk("d2", is_system=False, size_bytes=511),
    ]
    with pytest.raises(RestoreTargetInvalid) as caught:
        check_restore(contents, attached, {"system": "d0", "a": "d1", "b": "d2"})
    assert [each.resource for each in caught.value.violations] == ["d0", "d1", "d2", "nothing"]


@pytest.mark.parametrize("name", ["", "a b", "n" * 129, "<x>"])
def test_a_servers_name_is_well_formed(name: str) -> None:
    """A malformed name, and a description that is too long, are named at once."""
    servers.check_texts("a.b_c-1", "d" * 255)
    with pytest.raises(RequestInvalid) as caught:
        servers.check_texts(name, "d" * 256)
    assert [each.field for each in caught.value.fields] == ["server.display_name", "server.description"]
