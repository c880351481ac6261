"""Help texts as Rich shows them: paragraphs flow to the terminal's width, examples stay as they are."""


def reflowed(text: str) -> str:
    """Joins the lines of each paragraph; one that begins with a backspace (`\\b`, as Click has it) keeps its
    lines,

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
