"""What this machine is."""

from pathlib import Path


def cpu_info() -> str:
    """Return the text of /proc/cpuinfo, or "" if it does not exist."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def has_vnni(info: str | None = None) -> bool | None:
    """Return whether this x86 CPU multiplies int8 with sums in 32 bits (VNNI); None if nothing says so.

    info: the text of /proc/cpuinfo; None: this machine's.
    """
    info = cpu_info() if info is None else info
    flags = {flag for line in info.splitlines() if line.startswith("flags") for flag in line.split()}
    return bool(flags & {"avx512_vnni", "avx_vnni"}) if flags else None
