"""Remedies: whole commands, of what the problem names."""

import pytest

from recast.doctor.findings import Code, Problem


@pytest.mark.fault("FAULT-N18")
@pytest.mark.parametrize(
    ("what", "command"),
    [
        (
            "it is held for projects/p/images/web, which no work is making",
            "recast hold free idle --image web",
        ),
        (
            "it is held for projects/p/images/web by hold a1-b2, which no work is making",
            "recast hold free idle --image web --hold-id a1-b2",
        ),
        ("it is held", "recast hold free idle"),
    ],
)
def test_the_command_that_frees_a_hold_is_whole(what: str, command: str) -> None:
    """The remedy has the server, the image and the id of the hold, as the problem names them."""
    problem = Problem(Code.HOLD_WITHOUT_WORK, "projects/p/servers/idle", what)
    assert f"`{command}`" in problem.remedy
