"""Words of messages."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: "1 thread", "2 threads"; `plural` if it does not end in s alone."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
