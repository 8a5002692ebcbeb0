"""Foreign text, cleaned once, whoever gave it: files, snapshots, answers."""


def clean(text: str) -> str:
    """The text with its white space collapsed."""
    return " ".join(text.split())
