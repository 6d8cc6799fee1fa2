"""What this machine is."""

from pathlib import Path


def cpu_info() -> str:
    """Return the text of /proc/cpuinfo, or "" if it does not exist."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
