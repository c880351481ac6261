"""The Hypothesis state machine that drives CSBS, IMS and ECS against the model.

Everything is drawn as plain numbers, and no rule is ever off: what is drawn depends on the seed alone, never
on how fast something was. That is why there is no shrinking either: a run is not the same twice to the
microsecond. The history of requests and answers tells instead.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cloud import Cloud
from model import requests
from model.conversation import Conversation, Manner
from model.works import Disagreement
from model.world import Disk, Image

N = st.integers(0, 119)
BOOL = st.booleans()
MANNERS = (
    [Manner()] * 17
    + [Manner(waits=False)] * 13
    + [Manner(waits=False, cancels=True)] * 3
    + [Manner(is_stale=True)]
    + [Manner(is_stale=True, waits=False)]
    + [Manner(validate_only=True)]
)
MANNER = st.sampled_from(MANNERS)


@dataclass
class Tally:
    """What a run did."""

    steps: int = 0
    examples: int = 0
    answers: Counter[str] = field(default_factory=Counter)


class Machine(RuleBasedStateMachine):
    """One example: a project of its own, from its first image to nothing left."""

    def __init__(self, cloud: Cloud, sources: Path, tally: Tally) -> None:
        super().__init__()
        tally.examples += 1
        self.tally = tally
        self.talk = Conversation(cloud, f"m{tally.examples}", sources)
        self.talk.upload("sys", "sys")
        self.talk.upload("data", "data")
        # Hypothesis leaves some rules out of each example: without these many would have nothing to act on.
        self.ask(requests.create_servers(self.world, 0, 0, 1, [2]), Manner())
        self.ask(requests.create_backup(self.world, 0, 0, full=False), Manner())
        self.has_begun = False

    @property
    def world(self) -> requests.World:
        """The model."""
        return self.talk.world

    def ask(self, request: requests.Message, manner: Manner) -> None:
        """Sends a request."""
        self.talk.ask(request, manner)

    @rule(
        number=N, image=N, count=st.sampled_from([1, 1, 1, 2, 3]), asks=st.lists(N, max_size=3), manner=MANNER
    )
    def create_servers(self, number: int, image: int, count: int, asks: list[int], manner: Manner) -> None:
        self.ask(requests.create_servers(self.world, number, image, count, asks), manner)

    @rule(number=N, image=N, manner=MANNER)
    def create_server(self, number: int, image: int, manner: Manner) -> None:
        self.ask(requests.create_servers(self.world, number, image, 1, [number, image]), manner)

    @rule(server=N, which=N, manner=MANNER)
    def change_power(self, server: int, which: int, manner: Manner) -> None:
        self.ask(requests.power(self.world, server, which), manner)

    @rule(server=N, image=N, power_on=BOOL, manner=MANNER)
    def change_os(self, server: int, image: int, power_on: bool, manner: Manner) -> None:
        self.ask(requests.change_os(self.world, server, image, power_on=power_on), manner)

    @rule(server=N, with_disks=BOOL, manner=MANNER)
    def delete_server(self, server: int, with_disks: bool, manner: Manner) -> None:
        self.ask(requests.delete_server(self.world, server, with_disks=with_disks), manner)

    @rule(number=N, source=N, manner=MANNER)
    def create_disk(self, number: int, source: int, manner: Manner) -> None:
        self.ask(requests.create_disk(self.world, number, source), manner)

    @rule(disk=N, manner=MANNER)
    def delete_disk(self, disk: int, manner: Manner) -> None:
        self.ask(requests.disks.DeleteDiskRequest(name=requests.pick(self.world, Disk, disk)), manner)

    @rule(disk=N, server=N, manner=MANNER)
    def attach(self, disk: int, server: int, manner: Manner) -> None:
        self.ask(requests.attach(self.world, disk, server), manner)

    @rule(disk=N, server=N, manner=MANNER)
    def detach(self, disk: int, server: int, manner: Manner) -> None:
        self.ask(requests.detach(self.world, disk, server), manner)

    @rule(number=N, server=N, full=BOOL, manner=MANNER)
    def create_backup(self, number: int, server: int, full: bool, manner: Manner) -> None:
        self.ask(requests.create_backup(self.world, number, server, full=full), manner)

    @rule(backup=N, manner=MANNER)
    def delete_backup(self, backup: int, manner: Manner) -> None:
        name = requests.pick(self.world, requests.Backup, backup)
        self.ask(requests.backups.DeleteBackupRequest(name=name), manner)

    @rule(backup=N, server=N, power_on=BOOL, manner=MANNER)
    def restore(self, backup: int, server: int, power_on: bool, manner: Manner) -> None:
        self.ask(requests.restore(self.world, backup, server, power_on=power_on), manner)

    @rule(number=N, source=N, manner=MANNER)
    def create_image(self, number: int, source: int, manner: Manner) -> None:
        self.ask(requests.create_image(self.world, number, source), manner)

    @rule(image=N, with_backup=BOOL, manner=MANNER)
    def delete_image(self, image: int, with_backup: bool, manner: Manner) -> None:
        self.ask(requests.delete_image(self.world, image, with_backup=with_backup), manner)

    @rule(image=N)
    def read_defaults(self, image: int) -> None:
        name = requests.pick(self.world, Image, image)
        self.ask(requests.images.GetProvisioningDefaultsRequest(name=name), Manner())

    @rule(kind=N, number=N, manner=MANNER)
    def describe(self, kind: int, number: int, manner: Manner) -> None:
        self.ask(requests.describe(self.world, kind, number), manner)

    @rule(number=N, is_altered=BOOL)
    def repeat(self, number: int, is_altered: bool) -> None:
        self.talk.repeat(number, is_altered=is_altered)

    @rule(number=N, file=st.sampled_from(["sys", "old", "data"]))
    def upload(self, number: int, file: str) -> None:
        self.talk.upload(f"u{number % 2}" if number % 5 else "sys", file)

    @rule(number=N, slot=st.integers(0, 3), pattern=st.integers(1, 255))
    def write(self, number: int, slot: int, pattern: int) -> None:
        there = list(self.world.all(Disk))
        if there:
            self.talk.write(there[number % len(there)], slot, pattern)

    @rule(number=N)
    def read(self, number: int) -> None:
        self.talk.read(requests.pick(self.world, Disk, number))

    @rule()
    def settle(self) -> None:
        self.talk.settle_all()

    @invariant()
    def lists_are_as_the_model_has_them(self) -> None:
        """Runs before the first rule, and after each."""
        self.tally.steps += self.has_begun
        self.has_begun = True
        self.talk.compare()

    def teardown(self) -> None:
        """Deletes everything, and finds nothing left; not after a disagreement, which is what matters then."""
        self.tally.answers.update(self.talk.answers)
        if sys.exc_info()[0] is None:
            self.talk.tear_down(random.Random(self.tally.examples))


__all__ = ["Disagreement", "Machine", "Tally"]
