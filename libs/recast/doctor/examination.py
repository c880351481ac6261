"""One examination, and a second one to confirm its problems."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from recast.doctor.backup_checks import check_backups, check_images, check_locks, check_pins
from recast.doctor.base_checks import check_bases
from recast.doctor.comparisons import compare_bases, compare_tracked
from recast.doctor.contents import OpenStore, check_store, sealed_contents
from recast.doctor.disk_checks import Disks
from recast.doctor.file_checks import check_secrets, check_staging
from recast.doctor.findings import Findings, Report
from recast.doctor.installation import Installation, Unreadable
from recast.doctor.operation_checks import check_operations, check_states
from recast.doctor.row_checks import check_messages, check_projects, check_results
from recast.doctor.server_checks import check_attachments, check_freezes, check_holds, check_servers
from recast.doctor.snapshots import Snapshots, read_databases

# Longer than a call between services, so that both have written its effects.
_MOMENT_SECONDS = 0.3


def examine(
    installation: Installation,
    *,
    deep: bool = False,
    at_rest: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> Report:
    """Examines everything, and changes nothing. Unreadable when a part cannot be reached.

    The services may be running: the databases and files are not read at one instant, so a problem counts only
    if it persists shortly after. A resource of work that has not ended is no problem. `deep` reads every
    stored byte. `at_rest` states that all work has ended: then running work is a problem, and the first
    examination counts.
    """
    report = _examine_once(installation, deep=deep, at_rest=at_rest)
    if at_rest or not report.problems:
        return report
    pause(_MOMENT_SECONDS)
    again = _examine_once(installation, deep=deep, at_rest=at_rest)
    # Equal problems only: a resource of running work may be inconsistent twice, but not in the same way.
    confirmed = [problem for problem in again.problems if problem in report.problems]
    return replace(again, problems=tuple(confirmed))


def _examine_once(installation: Installation, *, deep: bool, at_rest: bool) -> Report:
    """Databases first, then the stores and disks that they reference."""
    findings = Findings()
    seen = read_databases(installation)
    check_operations(seen, findings, at_rest=at_rest)
    check_states(seen, findings)
    check_projects(seen, findings)
    check_messages(seen, findings)
    check_results(seen, findings)
    check_backups(seen, findings)
    check_locks(seen, findings)
    check_images(seen, findings)
    check_pins(seen, findings)
    check_servers(seen, findings)
    check_freezes(seen, findings)
    check_holds(seen, findings)
    check_attachments(seen, findings)
    check_staging(seen, installation.staging, findings)
    check_secrets(installation.secrets, findings)
    with ExitStack() as stack:
        _check_bytes(installation, seen, findings, stack, deep=deep)
    return Report(tuple(findings.problems), tuple(findings.in_progress), findings.counts)


def _check_bytes(
    installation: Installation, seen: Snapshots, findings: Findings, stack: ExitStack, *, deep: bool
) -> None:
    of_backups, of_images = sealed_contents(seen)
    csbs = OpenStore.open("csbs", installation.csbs_store, stack)
    ims = OpenStore.open("ims", installation.ims_store, stack)
    check_store(csbs, installation.csbs_store.url, of_backups, findings, deep=deep)
    check_store(ims, installation.ims_store.url, of_images, findings, deep=deep)
    stores = {
        sealed.disk.index.digest.hex(): (store, sealed)
        for store, contents in ((csbs, of_backups), (ims, of_images))
        for sealed in contents
    }
    if not all((installation.ecs_data / name).is_dir() for name in ("bases", "disks")):
        raise Unreadable(f"{installation.ecs_data} is not the data folder of an ECS host")
    by_base = {base: sealed for base, (_, sealed) in stores.items()}
    bases = check_bases(seen, installation.ecs_data, by_base, findings)
    disks = Disks(seen, installation.ecs_data, installation.ecs_host).check(findings)
    if deep:
        compare_bases(bases, stores, findings)
        compare_tracked(disks, csbs, of_backups, findings)
