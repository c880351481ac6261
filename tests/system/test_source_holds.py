"""A stopped source is not started while an image is made of its unfinished backup (R23)."""

import pytest

from recast.ecs.v1 import image_source_service_pb2, server_pb2
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from tests.harness.expectations import refused, state_of, until
from tests.harness.project import Tenant


def start(tenant: Tenant, server_id: str) -> server_pb2.Server:
    """Starts a server."""
    request = ecs_pb.StartServerRequest(name=tenant.server(server_id))
    return tenant.result(tenant.recast.servers.StartServer(request).operation, "ecs", server_pb2.Server)


@pytest.mark.rule("R23")
def test_a_stopped_source_is_held_until_its_image_is_made(main: Tenant) -> None:
    """While an image is made from a stopped server's unfinished backup its start is refused; afterwards it
    starts.
    """
    main.create_server("held", leave_stopped=True)
    with main.unfinished_backup("held", "held") as backup:
        image = main.start_image("held", "held")
        until(lambda: main.get_server("held").image_holds, "the hold")
        wanted = {
            "server": main.server("held"),
            "image": main.image("held"),
            "rule": "R23",
            "vendor_code": "Ecs.0605",
        }
        with refused("SERVER_IN_IMAGE_CREATION", **wanted):
            start(main, "held")
    main.wait(backup.operation, "csbs")
    main.wait(image.operation, "ims")
    assert not main.get_server("held").image_holds
    assert state_of(start(main, "held")) == "RUNNING"


@pytest.mark.rule("R23")
def test_a_hold_ends_when_the_image_fails(main: Tenant) -> None:
    """When the creation is cancelled the hold ends with it, and the server starts."""
    main.create_server("held-failed", leave_stopped=True)
    with main.unfinished_backup("held-failed", "held-failed") as backup:
        image = main.start_image("held-failed", "held-failed")
        until(lambda: main.get_backup("held-failed").image, "the lock")
        main.cancel(image.operation, "ims")
        main.end(image.operation, "ims")
        assert not main.get_server("held-failed").image_holds
        assert state_of(start(main, "held-failed")) == "RUNNING"
    main.wait(backup.operation, "csbs")


@pytest.mark.rule("R23")
def test_a_running_source_that_is_stopped_meanwhile_stays_stopped(main: Tenant) -> None:
    """A source that was running may be stopped, and is then held like any other."""
    main.create_server("held-running")
    with main.unfinished_backup("held-running", "held-running") as backup:
        image = main.start_image("held-running", "held-running")
        until(lambda: main.get_server("held-running").image_holds, "the hold")
        main.stop_server("held-running")
        with refused("SERVER_IN_IMAGE_CREATION", rule="R23"):
            start(main, "held-running")
    main.wait(backup.operation, "csbs")
    main.wait(image.operation, "ims")
    start(main, "held-running")


@pytest.mark.rule("R23")
def test_a_held_server_is_not_started_by_an_os_change_or_a_restore_either(main: Tenant) -> None:
    """Every way to start a held server is refused: a change of OS, a reinstallation and a restore that would
    start it.
    """
    main.create_server("held-ways", leave_stopped=True)
    main.create_backup("held-ways", "held-ways")
    hold = image_source_service_pb2.HoldServerRequest(server=main.server("held-ways"), image=main.image("x"))
    main.as_service("ims").holds.HoldServer(hold)
    servers, name = main.recast.servers, main.server("held-ways")
    change = ecs_pb.ChangeServerOsRequest(name=name, image=main.image("sys"), power_on=True)
    with refused("SERVER_IN_IMAGE_CREATION", rule="R23"):
        servers.ChangeServerOs(change)
    with refused("SERVER_IN_IMAGE_CREATION", rule="R23"):
        servers.ReinstallServerOs(ecs_pb.ReinstallServerOsRequest(name=name, power_on=True))
    with refused("SERVER_IN_IMAGE_CREATION", rule="R23"):
        main.restore("held-ways", power_on=True)
    assert state_of(main.get_server("held-ways")) == "STOPPED"
    change.power_on = False
    main.wait(servers.ChangeServerOs(change).operation, "ecs")
    main.as_service("ims").holds.FreeServer(
        image_source_service_pb2.FreeServerRequest(server=name, image=main.image("x"))
    )
    assert state_of(start(main, "held-ways")) == "RUNNING"


@pytest.mark.rule("R23")
def test_two_images_hold_one_server_and_both_are_named(main: Tenant) -> None:
    """A server that two images are made from is held by both, and the refusal names both."""
    main.create_server("held-twice", leave_stopped=True)
    for image in ("one", "two"):
        hold = image_source_service_pb2.HoldServerRequest(
            server=main.server("held-twice"), image=main.image(image)
        )
        main.as_service("ims").holds.HoldServer(hold)
    with refused("SERVER_IN_IMAGE_CREATION") as seen:
        start(main, "held-twice")
    assert [each.resource for each in seen[0].violations] == [main.image("one"), main.image("two")]
