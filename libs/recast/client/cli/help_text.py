"""Help texts for Rich: paragraphs are wrapped to the terminal's width, examples are not."""

# The help has a margin of a column at each side of a terminal of 80.
_WIDTH, _INDENT = 78, 4


def reflowed(text: str) -> str:
    """Joins the lines of each paragraph, unless it begins with a backspace (Click's `\\b`).

    Brackets are escaped: they would be taken for Rich's markup.
    """
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        lines = [line.strip() for line in paragraph.strip("\n ").splitlines()]
        if lines[0] == "\b":
            paragraphs.append("\n".join(_continued(line) for line in lines[1:]))
        else:
            paragraphs.append(" ".join(lines))
    return "\n\n".join(paragraphs).replace("[", r"\[")


def _continued(line: str) -> str:
    """A command that a terminal would break anywhere, broken before an option or a quoted argument."""
    lines = [line]
    while len(lines[-1]) > _WIDTH:
        at = max(lines[-1].rfind(start, 1, _WIDTH - 1) for start in (" --", " '"))
        if at <= _INDENT:
            break
        head, tail = lines[-1][:at], lines[-1][at + 1 :]
        lines[-1:] = [f"{head} \\", f"{' ' * _INDENT}{tail}"]
    return "\n".join(lines)
