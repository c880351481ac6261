"""The Hypothesis state machine that drives CSBS, IMS and ECS against the model.

Everything is drawn as plain numbers, and any of it may come at any time: what is drawn depends on the seed
alone, never on how fast something was. That is why there is no shrinking either: a run is not the same twice
to the microsecond. The history of requests and answers tells instead.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
from google.protobuf.message import Message
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.faults.model import requests
from tests.faults.model.conversation import Conversation, Manner
from tests.faults.model.world import Disk, World
from tests.harness.cloud import Cloud

N = st.integers(0, 119)
MANNERS = (
    [Manner()] * 17
    + [Manner(waits=False)] * 13
    + [Manner(waits=False, cancels=True)] * 3
    + [Manner(is_stale=True), Manner(is_stale=True, waits=False), Manner(validate_only=True)]
)
Make = Callable[[World, int, int, int, bool], Message]
Act = Callable[[Conversation, int, int, int, bool], None]

# The requests and their weights: those that make a resource from another are drawn more often than ends.
REQUESTS_BY_WEIGHT: list[tuple[int, Make]] = [
    (5, lambda w, a, b, c, _: requests.create_servers(w, a, b, (1, 1, 2, 3)[c % 4], [b, c][: c % 3])),
    (6, lambda w, a, b, _c, _: requests.power(w, a, b)),
    (4, lambda w, a, b, _c, flag: requests.change_os(w, a, b, power_on=flag)),
    (2, lambda w, a, _b, _c, flag: requests.delete_server(w, a, with_disks=flag)),
    (4, lambda w, a, b, _c, _: requests.create_disk(w, a, b)),
    (2, lambda w, a, _b, _c, _: requests.delete_disk(w, a)),
    (5, lambda w, a, b, _c, _: requests.attach(w, a, b)),
    (4, lambda w, a, b, _c, _: requests.detach(w, a, b)),
    (9, lambda w, a, b, c, _: requests.create_backup(w, a, b, full=c % 4 == 0)),
    (3, lambda w, a, _b, _c, _: requests.delete_backup(w, a)),
    (7, lambda w, a, b, _c, flag: requests.restore(w, a, b, power_on=flag)),
    (7, lambda w, a, b, _c, _: requests.create_image(w, a, b)),
    (4, lambda w, a, _b, _c, flag: requests.delete_image(w, a, with_backup=flag)),
    (2, lambda w, a, _b, _c, _: requests.read_defaults(w, a)),
    (2, lambda w, a, b, _c, _: requests.describe(w, a, b)),
]


def _write(talk: Conversation, a: int, b: int, c: int, flag: bool) -> None:
    there = list(talk.world.all(Disk))
    if there:
        talk.write(there[a % len(there)], b % 4, 1 + c)


OTHER: list[tuple[int, Act]] = [
    (5, lambda talk, a, _b, _c, flag: talk.repeat(a, is_altered=flag)),
    (1, lambda talk, a, b, _c, _: talk.upload(f"u{a % 2}", ("sys", "old", "data")[b % 3])),
    (9, _write),
    (4, lambda talk, a, _b, _c, _: talk.read(requests.pick(talk.world, Disk, a))),
    (3, lambda talk, _a, _b, _c, _: talk.settle_all()),
]
# By number: an action is the same one in every run.
DECK = [each for weight, each in REQUESTS_BY_WEIGHT for _ in range(weight)]
DECK_OF_OTHER = [each for weight, each in OTHER for _ in range(weight)]


@dataclass
class Tally:
    """What a run did."""

    steps: int = 0
    examples: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None
    """The first; what Hypothesis makes of it when it tries again may differ."""


class Machine(RuleBasedStateMachine):
    """One example: a project of its own, from its first image to nothing left."""

    def __init__(self, cloud: Cloud, sources: Path, tally: Tally) -> None:
        super().__init__()
        tally.examples += 1
        self.tally = tally
        self.talk = Conversation(cloud, f"m{tally.examples}", sources)
        self.talk.upload("sys", "sys")
        self.talk.upload("data", "data")
        self.talk.ask(requests.create_servers(self.talk.world, 0, 0, 1, [2]), Manner())

    # One rule alone: of many, Hypothesis leaves some out of each example, and with them most of what can
    # happen.
    @rule(
        action=st.integers(0, len(DECK) + len(DECK_OF_OTHER) - 1),
        a=N,
        b=N,
        c=N,
        flag=st.booleans(),
        manner=st.integers(0, len(MANNERS) - 1),
    )
    def act(self, action: int, a: int, b: int, c: int, flag: bool, manner: int) -> None:
        """One step."""
        self.tally.steps += 1
        if action < len(DECK):
            self.talk.ask(DECK[action](self.talk.world, a, b, c, flag), MANNERS[manner])
        else:
            DECK_OF_OTHER[action - len(DECK)](self.talk, a, b, c, flag)

    @invariant()
    def lists_are_as_the_model_has_them(self) -> None:
        """Before the first step, and after each."""
        self.talk.compare()

    def teardown(self) -> None:
        """Deletes everything, and finds nothing left; after a disagreement that alone matters."""
        self.tally.answers.update(self.talk.answers)
        failure = sys.exc_info()[1]
        try:
            if not isinstance(failure, Exception):  # Hypothesis ends an example early by one that is none
                self.talk.tear_down(random.Random(self.tally.examples))
        except Exception as found:
            failure = found
            raise
        finally:
            if isinstance(failure, Exception):
                self.tally.failure = self.tally.failure or failure
