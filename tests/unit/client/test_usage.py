"""Wrong usage: in the format of the answer; words that are not built name their rules."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from recast.client.cli.not_built import NOT_BUILT

ROOT = Path(__file__).parents[3]
WORDS = [(group, word) for group, words in NOT_BUILT.items() for word in words]


@pytest.mark.fault("FAULT-N17")
@pytest.mark.parametrize("output", ["-o json", "-ojson", "--output json", "--output=json"])
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("backup create x", "Missing option '--server'"),
        ("backup get", "Missing argument"),
        ("backup nonsense", "No such command 'nonsense'"),
        ("nonsense", "No such command 'nonsense'"),
        ("backup list --limit x", "Invalid value for '--limit'"),
        ("backup list --nonsense", "No such option: --nonsense"),
        ("image import missing.raw --kind iso --format raw", "missing.raw"),
        ("image export x", "not built yet"),
        ("status x", "unexpected extra argument"),
    ],
)
def test_usage_errors_are_json_where_answers_are(arguments: str, text: str, output: str, run: Any) -> None:
    """A script that reads JSON gets JSON on stderr for wrong usage too, with exit code 2 and a reason."""
    found = run(*arguments.split(), *output.split())
    error = json.loads(found.err)["error"]
    assert (found.code, found.out, error["reason"], error["exit_code"]) == (2, "", "USAGE_INVALID", 2)
    assert text in error["message"]


@pytest.mark.fault("FAULT-N17")
def test_other_outputs_have_the_box(run: Any) -> None:
    """People get the usage and the error as Typer prints them; an answer in JSON stays whole."""
    found = run("backup", "create", "x", "-o", "name")
    assert (found.code, found.out) == (2, "")
    assert "Usage: recast backup create" in found.err
    found = run("backup", "list", "-o", "json")
    assert (found.code, json.loads(found.out), found.err) == (0, {}, "")
    found = run("backup", "get", "a/b/c", "-o", "json")
    assert (found.code, json.loads(found.err)["error"]["reason"]) == (2, "ARGUMENT_INVALID")


@pytest.mark.fault("FAULT-W12")
@pytest.mark.parametrize(("group", "word"), WORDS)
def test_a_word_that_is_not_built_names_its_rules(group: str, word: str, run: Any) -> None:
    """The command knows the words of rules that are pending, and suggests no other command for them."""
    found = run(*([] if group == "recast" else [group]), word, "x")
    assert found.code == 2
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", found.err).split())
    assert f"'{word}' is not built yet: {', '.join(NOT_BUILT[group][word])};" in text
    assert "Did you mean" not in text


@pytest.mark.fault("FAULT-W12")
def test_the_rules_of_these_words_are_pending() -> None:
    """A word goes from the table when one of its rules is kept."""
    states = dict(re.findall(r"^\| (R\d+) \| (\w+) \|", (ROOT / "RULES.md").read_text(), re.MULTILINE))
    cited = {rule for words in NOT_BUILT.values() for rules in words.values() for rule in rules}
    assert {states[rule] for rule in cited} == {"pending"}


@pytest.mark.fault("FAULT-N25")
@pytest.mark.parametrize(
    "command", ["", "backup", "backup create", "server delete", "doctor", "token", "status"]
)
def test_a_flag_has_no_type_in_the_help(command: str, run: Any) -> None:
    """The help shows the type of a value that an option takes, and none for a flag."""
    found = run(*command.split(), "--help")
    assert found.code == 0
    assert "bool" not in found.out


@pytest.mark.fault("FAULT-N25")
@pytest.mark.parametrize(
    "command",
    [
        "server create",
        "backup list",
        "backup create",
        "image import",
        "image create",
        "server delete",
        "call",
        "token",
    ],
)
def test_an_example_is_not_broken_inside_a_word(command: str, run: Any) -> None:
    """On a terminal of 80 columns a line of an example is whole, or goes on after a backslash."""
    found = run(*command.split(), "--help", environment={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    text = found.out.partition("╭")[0]
    lines = [line.strip() for line in text.splitlines()[2:]]
    examples = "\n".join(lines).replace("\\\n", "").split("\n")
    for example in (line for line in examples if line.startswith("recast ")):
        assert example.count("'") % 2 == 0
        assert example.count('"') % 2 == 0
    assert not [line for line in lines if line.startswith(("image-disk=", "size=", '"projects'))]
    assert max(map(len, text.splitlines())) <= 80
