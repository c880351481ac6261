"""Lists: pages, filters and orders, and their refusals."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recast.csbs.v1 import backup_service_pb2 as backups
from recast.ecs.v1 import disk_service_pb2 as disks
from recast.ecs.v1 import server_service_pb2 as servers
from recast.faults import Kind
from recast.ims.v1 import image_service_pb2 as images
from tests.harness.expectations import refused
from tests.harness.project import Tenant

BAD = Kind.INVALID_ARGUMENT
NOUNS = ("backups", "images", "servers", "disks")


@pytest.fixture(scope="module")
def listed(tenant_of: Callable[[str], Tenant]) -> Tenant:
    """A project with five disks, three images, three servers and two backups."""
    tenant = tenant_of("lists")
    tenant.import_image("sys", "old.raw")
    for number in (1, 2):
        tenant.import_image(f"odd-{number}", "odd.raw", kind="DATA_DISK")
        tenant.create_disk(f"loose-{number}", 512 * number, shared=number == 2)
    tenant.wait(tenant.start_servers("s", count=3, leave_stopped=True).operation, "ecs")
    for number in (1, 2):
        tenant.create_backup(f"b-{number}", "s-0000")
    return tenant


def page(tenant: Tenant, noun: str, **options: Any) -> Any:
    """One page of a list."""
    calls: dict[str, tuple[Any, Any]] = {
        "backups": (tenant.recast.backups.ListBackups, backups.ListBackupsRequest),
        "images": (tenant.recast.images.ListImages, images.ListImagesRequest),
        "servers": (tenant.recast.servers.ListServers, servers.ListServersRequest),
        "disks": (tenant.recast.disks.ListDisks, disks.ListDisksRequest),
    }
    call, request = calls[noun]
    return call(request(parent=tenant.parent, **options))


def names(tenant: Tenant, noun: str, **options: Any) -> list[str]:
    """The ids on a page."""
    return [each.name.rpartition("/")[2] for each in getattr(page(tenant, noun, **options), noun)]


def every(tenant: Tenant, noun: str, **options: Any) -> Iterator[list[str]]:
    """The ids of each page."""
    token = ""
    while True:
        answer = page(tenant, noun, page_token=token, **options)
        yield [each.name.rpartition("/")[2] for each in getattr(answer, noun)]
        token = answer.next_page_token
        if not token:
            return


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize(
    "order_by", ["", "create_time", "display_name desc", "display_name, create_time desc"]
)
def test_pages_together_are_the_list(listed: Tenant, noun: str, order_by: str) -> None:
    """Page by page every resource comes once, in the order that one page of all has."""
    whole = names(listed, noun, order_by=order_by)
    pages = list(every(listed, noun, order_by=order_by, page_size=1))
    assert [name for each in pages for name in each] == whole
    assert all(len(each) == 1 for each in pages)
    assert len(set(whole)) == len(whole) > 1


def test_the_newest_come_first_by_default(listed: Tenant) -> None:
    """Without an order the list begins with the newest; with one it is in that order."""
    assert names(listed, "backups") == ["b-2", "b-1"]
    assert names(listed, "backups", order_by="create_time asc") == ["b-1", "b-2"]
    assert names(listed, "disks", order_by="size_bytes desc")[-2:] == ["loose-2", "loose-1"]


@pytest.mark.parametrize(
    ("noun", "text", "wanted"),
    [
        ("backups", 'state = "AVAILABLE" AND display_name = "b-1"', {"b-1"}),
        ("backups", 'server = "projects/lists/servers/s-0000" AND image_ready = true', {"b-1", "b-2"}),
        ("backups", 'state = "BACKUP_STATE_ERROR"', set()),
        ("images", 'kind = "DATA_DISK" AND state = "NORMAL"', {"odd-1", "odd-2"}),
        ("images", 'display_name != "sys" AND size_bytes >= 1024', {"odd-1", "odd-2"}),
        ("servers", 'display_name = "s-*"', {"s-0000", "s-0001", "s-0002"}),
        ("servers", 'display_name > "s-0000" AND state = STOPPED', {"s-0001", "s-0002"}),
        ("servers", 'create_time > "2020-01-01T00:00:00Z" AND display_name:s-0001', {"s-0001"}),
        ("disks", 'shared = true AND role = "DATA"', {"loose-2"}),
        ("disks", "role = DISK_ROLE_DATA", {"loose-1", "loose-2"}),
        ("disks", "size_bytes <= 512", {"loose-1"}),
    ],
)
def test_a_filter_picks(listed: Tenant, noun: str, text: str, wanted: set[str]) -> None:
    """Conditions over the declared fields, joined by AND, select the resources that meet all of them."""
    assert set(names(listed, noun, filter=text)) == wanted


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        'nonsense = "x"',
        'state = "NOWHERE"',
        'state = "AVAILABLE" OR state = "ERROR"',
        'state = "AVAILABLE" AND',
        'state "AVAILABLE"',
        'display_name = "unclosed',
        r'display_name = "\q"',
        'create_time > "yesterday"',
        'create_time > "2020-01-01T00:00:00"',
        "size_bytes < 99999999999999999999999",
        "state = ",
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(listed: Tenant, noun: str, text: str) -> None:
    """A filter with an unknown field, a malformed value, or broken syntax is refused, and the
    refusal names the known fields.
    """
    with refused("FILTER_INVALID", BAD) as seen:
        page(listed, noun, filter=text)
    assert "display_name" in seen[0].facts["allowed"]


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize(
    "order", ["nonsense", "state", "create_time sideways", "create_time,,display_name", ","]
)
def test_an_order_that_makes_no_sense_is_refused(listed: Tenant, noun: str, order: str) -> None:
    """A list is ordered by its declared fields, up or down; any other order is refused."""
    with refused("FILTER_INVALID", BAD):
        page(listed, noun, order_by=order)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_page_token_is_one_of_its_query(
    listed: Tenant, tenant_of: Callable[[str], Tenant], noun: str
) -> None:
    """A page token of another order, filter, list or project, or one that is none, is refused."""
    token = page(listed, noun, page_size=1).next_page_token
    with refused("PAGE_TOKEN_INVALID", BAD):
        page(listed, noun, page_token=token, order_by="display_name")
    with refused("PAGE_TOKEN_INVALID", BAD):
        page(listed, noun, page_token=token, filter='display_name = "x"')
    other = NOUNS[NOUNS.index(noun) - 1]
    with refused("PAGE_TOKEN_INVALID", BAD):
        page(listed, other, page_token=token)
    with refused("PAGE_TOKEN_INVALID", BAD):
        page(tenant_of("lists-other"), noun, page_token=token)
    for garbage in ("x", "!!!", "bm90IGpzb24", base64.urlsafe_b64encode(b"[]").decode(), "\u00e9"):
        with refused("PAGE_TOKEN_INVALID", BAD):
            page(listed, noun, page_token=garbage)


@pytest.mark.parametrize("values", [[], [1], ["x", "y", "z"], None, [{"time": "x"}, "y"], [{"no": 1}, "y"]])
def test_a_page_token_that_was_tampered_with_is_refused(listed: Tenant, values: object) -> None:
    """A token of this query with a malformed position is refused, and is no bug."""
    token = page(listed, "disks", page_size=1).next_page_token
    query, _ = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    forged = base64.urlsafe_b64encode(json.dumps([query, values]).encode()).decode().rstrip("=")
    with refused("PAGE_TOKEN_INVALID", BAD):
        page(listed, "disks", page_token=forged)


def test_a_page_has_a_size_that_can_be(listed: Tenant) -> None:
    """A negative page size is refused; a size beyond the largest is the largest."""
    with refused("REQUEST_INVALID", BAD):
        page(listed, "disks", page_size=-1)
    assert len(names(listed, "disks", page_size=1_000_000)) == 5
