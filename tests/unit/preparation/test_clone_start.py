"""Whether a clone is seen to start Cloud-Init, as a new instance: members of the kinds of faults found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from recast.preparation.inspection import inspect_here
from recast.preparation.report import Finding, Verdict
from tests.harness.disks import Link, SystemDisk
from tests.harness.memory_tree import LinkTo

OK, MISSING, UNKNOWN = Verdict.OK, Verdict.MISSING, Verdict.UNKNOWN
Files = Mapping[str, str | LinkTo | None]
FindingOf = Callable[..., Finding]
MASK = LinkTo("/dev/null")
ETC, VENDOR = "/etc/systemd/system", "/usr/lib/systemd/system"
UNIT = "[Unit]\nDescription=x\n[Install]\nWantedBy=cloud-init.target\n"
STARTED = {f"{VENDOR}/cloud-init.service": UNIT, "/etc/machine-id": "0" * 32 + "\n"}
OPENRC = {
    f"{VENDOR}/cloud-init.service": None,
    "/etc/init.d/cloud-init": "x",
    "/etc/runlevels/boot/bootmisc": "",
}
SYSV = {f"{VENDOR}/cloud-init.service": None, "/etc/init.d/cloud-init": "x", "/etc/rc3.d/S01ssh": "x"}
GRUB = "/boot/grub/grub.cfg"


@pytest.mark.parametrize(
    ("files", "verdict"),
    [
        ({f"{ETC}/cloud-init.service": MASK, f"{ETC}/cloud-init-local.service": MASK}, MISSING),
        ({"/etc/cloud/ds-identify.cfg": "policy: disabled\n"}, MISSING),
        ({"/etc/default/grub": "x", GRUB: "linux /vmlinuz root=UUID=1 ro cloud-init=disabled\n"}, MISSING),
        ({"/etc/cloud/cloud.cfg.d/99-installer.cfg": "datasource_list:\n- None\n"}, MISSING),
        # Members that the reports do not name.
        ({f"{ETC}/cloud-init.service": ""}, MISSING),  # an empty file masks, too
        ({f"{ETC}/cloud-init.service": LinkTo("../../../dev/null")}, MISSING),
        ({f"{ETC}/cloud-init.target": MASK, f"{VENDOR}/cloud-init.target": "x"}, MISSING),
        (
            {
                f"{VENDOR}-generators/cloud-init-generator": "x",
                f"{ETC}-generators/cloud-init-generator": MASK,
            },
            MISSING,
        ),
        ({"/etc/cloud/ds-identify.cfg": 'policy: enabled\npolicy: "disabled" # x\n'}, MISSING),
        ({"/etc/cloud/ds-identify.cfg": "datasource: None\n"}, MISSING),
        ({GRUB: "linux /v root=UUID=1 systemd.mask=cloud-init.service\n"}, MISSING),
        ({GRUB: "linux /v root=UUID=1 \\\n  cloud-init=disabled\n"}, MISSING),
        ({GRUB: "linux /v cloud-init=disabled\nlinux /v single\n"}, MISSING),
        ({GRUB: None, "/boot/loader/entries/a.conf": "options root=x cloud-init=disabled\n"}, MISSING),
        (
            {
                GRUB: None,
                "/boot/loader/entries/a.conf": "options $kernelopts\n",
                "/boot/grub2/grubenv": "kernelopts=root=x cloud-init=disabled\n",
            },
            MISSING,
        ),
        ({GRUB: None, "/boot/cmdline.txt": "root=x cloud-init=disabled\n"}, MISSING),
        ({"/etc/cloud/cloud.cfg.d/99.cfg": '{"datasource_list": ["None"]}\n'}, MISSING),
        (STARTED, MISSING),  # the unit must be enabled, and is not
        (OPENRC, MISSING),
        (SYSV, MISSING),
        ({GRUB: "linux /v cloud-init=disabled\n", "/etc/kernel/cmdline": "root=x\n"}, MISSING),
        # A good server is not refused.
        ({f"{ETC}/cloud-init-local.service": MASK}, OK),  # this version has no such unit
        ({f"{ETC}/cloud-init.service": "[Unit]\n"}, OK),
        ({f"{ETC}/cloud-init.service": LinkTo("/usr/lib/systemd/system/cloud-init.service")}, OK),
        ({"/etc/cloud/ds-identify.cfg": "# policy: disabled\npolicy: search,notfound=disabled\n"}, OK),
        ({GRUB: "# linux /v cloud-init=disabled\nlinux /v root=UUID=1\n"}, OK),
        ({GRUB: "linux /v root=UUID=1\nlinux /v single cloud-init=disabled\n"}, OK),
        (STARTED | {f"{ETC}/cloud-init.target.wants/cloud-init.service": LinkTo("/x")}, OK),
        (STARTED | {"/etc/machine-id": "uninitialized\n"}, OK),  # presets enable it at the first boot
        (OPENRC | {"/etc/runlevels/default/cloud-init": LinkTo("/etc/init.d/cloud-init")}, OK),
        (SYSV | {"/etc/rc3.d/S50cloud-init": LinkTo("../init.d/cloud-init")}, OK),
        ({"/etc/fstab": "UUID=1 / ext4\nUUID=A-B /boot/efi vfat\n"}, OK),
        # What the disk does not decide.
        ({GRUB: "linux /v cloud-init=disabled\nlinux /w root=UUID=1\n"}, UNKNOWN),
        ({GRUB: None, "/etc/default/grub": 'GRUB_CMDLINE_LINUX="cloud-init=disabled"\n'}, UNKNOWN),
        ({"/etc/cloud/cloud.cfg.d/99.cfg": "datasource_list: [\n"}, UNKNOWN),
    ],
)  # fmt: skip
@pytest.mark.rule("R20")
@pytest.mark.fault("FAULT-F04")
def test_enabled(linux_finding: FindingOf, files: Files, verdict: Verdict) -> None:
    """Each input that decides whether Cloud-Init runs is read: units, runlevels, policy, kernel's line."""
    assert linux_finding("CLOUD_INIT_ENABLED", files).verdict is verdict


@pytest.mark.fault("FAULT-F04")
def test_enabled_on_a_disk(make_disk: Callable[..., SystemDisk], file_reader: Callable[[Any], Any]) -> None:
    """A masked unit is seen on a real file system, and the finding names it."""
    disk = make_disk(files={f"{ETC}/cloud-init.service": Link("/dev/null")})
    (finding,) = inspect_here(file_reader(disk.path)).missing
    assert (finding.check, f"{ETC}/cloud-init.service" in finding.detail) == ("CLOUD_INIT_ENABLED", True)


@pytest.mark.fault("FAULT-F03")
def test_an_unread_boot_partition_hides_nothing(
    make_disk: Callable[..., SystemDisk], file_reader: Callable[[Any], Any]
) -> None:
    """An EFI system partition that is not read leaves every required check of a good server met."""
    fstab = "UUID=1 / ext4 x 0 1\nUUID=A-B /boot/efi vfat x 0 1\n"
    report = inspect_here(file_reader(make_disk(files={"/etc/fstab": fstab}).path))
    assert (report.missing, report.unknown) == ((), ())


@pytest.mark.fault("FAULT-F03")
def test_an_os_release_that_is_a_loop_hides_nothing(
    make_disk: Callable[..., SystemDisk], file_reader: Callable[[Any], Any]
) -> None:
    """An unprepared server is refused although its os-release cannot be read."""
    disk = make_disk(variant="unprepared", files={"/etc/os-release": Link("os-release")})
    missing = {each.check for each in inspect_here(file_reader(disk.path)).missing}
    assert missing == {"CLOUD_INIT_INSTALLED", "FSTAB_BY_UUID", "NO_PERSISTENT_NET_RULES"}


@pytest.mark.fault("FAULT-F04")
def test_a_masked_cloud_init_does_not_manage_the_network(linux_finding: FindingOf) -> None:
    """A fixed address counts where Cloud-Init is installed and masked."""
    files = {f"{ETC}/cloud-init.service": MASK, "/etc/network/interfaces": "iface eth0 inet static\n"}
    assert linux_finding("DHCP", files).verdict is MISSING


STORE = "/nix/store/a-cloud-init/bin/cloud-init"
UNITS = "/nix/store/b-system/etc/systemd/system"
NO_PROGRAM: dict[str, str | LinkTo | None] = {"/usr/bin/cloud-init": None}
NIXOS: dict[str, str | LinkTo | None] = NO_PROGRAM | {
    STORE: "#!\n",
    "/nix/var/nix/profiles/system": LinkTo("/nix/store/b-system"),
    "/nix/store/b-system/sw/bin/cloud-init": LinkTo(STORE),
    ETC: LinkTo(UNITS),
    f"{UNITS}/cloud-init.service": f"[Service]\nExecStart={STORE} init\n",
}


@pytest.mark.parametrize(
    ("files", "verdict"),
    [
        (NIXOS, OK),
        # Members that the reports do not name.
        (NIXOS | {"/nix/var/nix/profiles/system": None}, OK),  # by the unit alone
        (NO_PROGRAM | {f"{VENDOR}/cloud-init.service": "ExecStart=-/opt/ci/bin/cloud-init init\n",
                       "/opt/ci/bin/cloud-init": "#!"}, OK),
        (NO_PROGRAM | {"/etc/init.d/cloud-init": 'command="/srv/venv/bin/cloud-init"\n',
                       "/srv/venv/bin/cloud-init": "#!"}, OK),
        ({"/usr/bin/cloud-init": "x" * (2 << 20)}, OK),  # larger than what is read
        (NO_PROGRAM | {"/nix/store/c-other/x": ""}, UNKNOWN),
        (NO_PROGRAM | {"/ostree/deploy/os/x": ""}, UNKNOWN),
        (NO_PROGRAM | {"/var/lib/extensions/cloud-init.raw": "x"}, UNKNOWN),
        # What is certainly not there.
        (NO_PROGRAM, MISSING),
        (NO_PROGRAM | {f"{VENDOR}/cloud-init.service": "ExecStart=/opt/ci/bin/cloud-init init\n"}, MISSING),
        ({"/usr/bin/cloud-init": ""}, MISSING),  # an empty file is no program
        ({"/usr/bin/cloud-init": LinkTo("../lib/nothing")}, MISSING),
        ({"/usr/bin/cloud-init": None, "/usr/bin/cloud-init/x": ""}, MISSING),  # a directory
    ],
)  # fmt: skip
@pytest.mark.rule("R20")
@pytest.mark.fault("FAULT-F07", "FAULT-W05")
def test_installed(linux_finding: FindingOf, files: Files, verdict: Verdict) -> None:
    """The program is found where a service of the system names it, and is missing only if that is certain."""
    assert linux_finding("CLOUD_INIT_INSTALLED", files).verdict is verdict


SEED = "/var/lib/cloud/seed/nocloud/meta-data"
CACHE = {"/var/lib/cloud/instance": LinkTo("instances/i-old"), "/var/lib/cloud/instances/i-old/obj.pkl": "x"}


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (CACHE | {"/etc/cloud/cloud.cfg.d/99-cache.cfg": "manual_cache_clean: true\n"}, "99-cache.cfg"),
        ({SEED: "instance-id: i-fixed\nlocal-hostname: old\n"}, SEED),
        # Members that the reports do not name.
        ({SEED: '{"instance-id": "i-fixed"}'}, SEED),
        ({"/var/lib/cloud/seed/nocloud-net/meta-data": "instance-id: i\n"}, "nocloud-net/meta-data"),
        ({"/etc/cloud/cloud.cfg.d/9.cfg": "datasource: {NoCloud: {meta-data: {instance-id: i}}}\n"}, "9.cfg"),
        (
            {
                "/etc/cloud/cloud.cfg.d/9.cfg": "datasource:\n  NoCloud: {seedfrom: 'file:///srv/seed/'}\n",
                "/srv/seed/meta-data": "instance-id: i\n",
            },
            "/srv/seed/meta-data",
        ),
        ({GRUB: "linux /v root=UUID=1 ds=nocloud;s=file:///x/;i=i-fixed\n"}, GRUB),
        ({"/etc/cloud/cloud.cfg.d/9.cfg": "ssh_deletekeys: false\n"}, "9.cfg"),
    ],
)
@pytest.mark.fault("FAULT-F09")
def test_old_instance(linux_finding: FindingOf, files: Files, named: str) -> None:
    """A clone that would take itself for its source has a finding, which names the file."""
    finding = linux_finding("CLOUD_INIT_NEW_INSTANCE", files)
    assert (finding.verdict, finding.required) == (MISSING, False)
    assert named in finding.detail


@pytest.mark.parametrize(
    ("files", "verdict"),
    [
        (CACHE, OK),  # the cache of an instance is left on every server
        ({"/etc/cloud/cloud.cfg.d/99.cfg": "manual_cache_clean: true\n"}, OK),
        (CACHE | {"/etc/cloud/cloud.cfg.d/99.cfg": "manual_cache_clean: false\n"}, OK),
        ({SEED: "local-hostname: old\n"}, OK),
        ({SEED: "instance-id: i\n", "/etc/cloud/cloud.cfg.d/99.cfg": "datasource_list: [Ec2]\n"}, OK),
        (NO_PROGRAM, UNKNOWN),
    ],
)
@pytest.mark.fault("FAULT-F09")
def test_new_instance(linux_finding: FindingOf, files: Files, verdict: Verdict) -> None:
    """A server whose clone is seen as a new instance has no such finding."""
    assert linux_finding("CLOUD_INIT_NEW_INSTANCE", files).verdict is verdict


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (r'PRETTY_NAME="Foo \"Bar\" \$5"', 'Foo "Bar" $5'),
        (r"PRETTY_NAME='Foo \"Bar\"'", r"Foo \"Bar\""),
        (r"PRETTY_NAME=Foo\ Bar", "Foo Bar"),
        ('PRETTY_NAME="It\'s" # comment', "It's"),
        ("PRETTY_NAME='a'\"b\"c", "abc"),
        (r'PRETTY_NAME="a\\b\`c\n"', r"a\b`c\n"),
        ("export PRETTY_NAME='x y'", "x y"),
    ],
)
@pytest.mark.fault("FAULT-F13")
def test_os_release_is_unquoted_as_by_a_shell(linux_finding: FindingOf, line: str, name: str) -> None:
    """A value of os-release is read as a shell reads it."""
    finding = linux_finding("OS_RELEASE", {"/usr/lib/os-release": line + "\n"})
    assert finding.detail == f"/etc/os-release says {name}"
