"""Runs the state machine with a seed, for so many steps, on three services of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test

from recast.doctor import Installation, Store, examine
from tests.faults.model.machine import Machine, Tally
from tests.harness import disks
from tests.harness.cloud import Cloud, bugs_in

MIB = 1 << 20
STEPS_AN_EXAMPLE = 50


def run(root: Path, *, seed: int, steps: int, figure: Callable[[str], None]) -> None:
    """Runs at least so many steps; the same number draws the same."""
    sources = root / "sources"
    sources.mkdir()
    disks.make_system_disk(sources / "sys.raw", 4 * MIB, 0)
    disks.make_system_disk(sources / "old.raw", 5 * MIB, 0, "unprepared")
    disks.make_incompressible_disk(sources / "data.raw", 2 * MIB + 512, MIB // 8)
    log = root / "log.json"
    cloud = Cloud(root)
    tally = Tally()
    begun = time.monotonic()
    before = structlog.get_config()
    with log.open("w") as file:
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, structlog.processors.dict_tracebacks,
                        structlog.processors.JSONRenderer(default=str)],
            logger_factory=structlog.WriteLoggerFactory(file=file),
        )  # fmt: skip
        cloud.start()
        try:
            _drive(cloud, sources, tally, seed, steps)
        except BaseException as failure:
            print(f"{tally.steps} steps, {time.monotonic() - begun:.0f} s")
            print(f"to see it again: make test-model SEED={seed} STEPS={steps}")
            if tally.failure is None or isinstance(failure, KeyboardInterrupt):
                raise
            raise tally.failure from None  # not what became of it when Hypothesis tried it again
        finally:
            cloud.stop()
            structlog.configure(**before)
    took = time.monotonic() - begun
    refused = sum(tally.answers.values()) - tally.answers[""]
    figure(
        f"{tally.steps} steps in {tally.examples} projects, seed {seed}, {took:.0f} s, "
        f"{took / tally.steps * 1000:.0f} ms a step; {tally.answers['']} requests accepted, {refused} "
        f"refused for {len(tally.answers) - 1} reasons"
    )
    assert bugs_in(log) == []
    assert tally.steps >= steps
    assert cloud.disk_folders() == set()
    assert examine(_installation(cloud), at_rest=True).problems == ()


def _drive(cloud: Cloud, sources: Path, tally: Tally, seed: int, steps: int) -> None:
    machine = seeded(seed)(lambda: Machine(cloud, sources, tally))
    run_state_machine_as_test(
        machine,
        settings=settings(
            # More than needed: Hypothesis ends some early, now and then one of twenty.
            max_examples=steps // STEPS_AN_EXAMPLE * 23 // 20 + 1,
            stateful_step_count=STEPS_AN_EXAMPLE,
            deadline=None,  # the machine's speed is no property of the product
            database=None,  # what is replayed is the seed
            # Timing differs from run to run: an example that is tried again, to shrink it, is another one.
            phases=[Phase.generate],
            report_multiple_bugs=False,
            # Real services take their time, and each example begins with two imports.
            suppress_health_check=list(HealthCheck),
        ),
    )


def _installation(cloud: Cloud) -> Installation:
    databases = {
        f"{service}_database": f"sqlite:///{cloud.root / f'{service}.db'}" for service in cloud.databases
    }
    stores = {
        f"{service}_store": Store(
            (cloud.root / f"{service}-store").as_uri(), cloud.root / "keys" / f"{service}-store.key"
        )
        for service in ("csbs", "ims")
    }
    return Installation(
        **databases,
        **stores,
        staging=cloud.root / "ims-staging",
        ecs_data=cloud.root / "ecs",
        ecs_host="local",
    )
