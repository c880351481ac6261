"""Help texts for Rich: paragraphs are wrapped to the terminal's width, examples are not."""


def reflowed(text: str) -> str:
    """Joins the lines of each paragraph, unless it begins with a backspace (Click's `\\b`).

    Brackets are escaped: they would be taken for Rich's markup.
    """
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        lines = [line.strip() for line in paragraph.strip("\n ").splitlines()]
        if lines[0] == "\b":
            paragraphs.append("\n".join(lines[1:]))
        else:
            paragraphs.append(" ".join(lines))
    return "\n\n".join(paragraphs).replace("[", r"\[")
