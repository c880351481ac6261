"""Draws every state table into its service's README: the diagram is the table.

`make diagrams` writes them.
"""

import importlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLES = {
    "csbs": {"backup": "csbs.domain.backup", "image_lock": "csbs.domain.image_lock"},
    "ims": {"image": "ims.domain.image"},
    "ecs": {"server": "ecs.domain.server", "disk": "ecs.domain.disk", "freeze": "ecs.domain.freeze"},
}


def diagram(module: str) -> str:
    """The table of a module as a mermaid state diagram."""
    table = importlib.import_module(module).TRANSITIONS
    first = next(iter(table))[0]
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    lines += [
        f"    {state} --> {after}: {str(event).partition(':')[0]}" for (state, event), after in table.items()
    ]
    return "\n".join([*lines, "```"])


def drawn(text: str, noun: str, module: str) -> str:
    """The README's text with the diagram of the noun between its marks."""
    begin, end = f"<!-- states: {noun} -->", "<!-- end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    assert pattern.search(text), f"the README has no place for the states of {noun}"
    return pattern.sub(lambda _: f"{begin}\n{diagram(module)}\n{end}", text)


def main() -> None:
    """Writes all diagrams."""
    for service, nouns in TABLES.items():
        readme = ROOT / "services" / service / "README.md"
        text = readme.read_text()
        for noun, module in nouns.items():
            text = drawn(text, noun, module)
        readme.write_text(text)


if __name__ == "__main__":
    main()
