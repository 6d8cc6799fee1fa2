#!/usr/bin/env bash
# Python 3 on Linux: ru_maxrss of a small process is the peak of the large one that started it with subprocess.
#
# Expected: getrusage(RUSAGE_SELF).ru_maxrss is the most memory that the asking process has had, as the manual says
# ("the maximum resident set size used"), and as VmHWM in /proc/self/status says it.
# Seen: a program of a few megabytes that a process of 800 MB starts reports 800 MB. subprocess starts programs by vfork,
# so until exec the child lives in the memory of its parent, and Linux carries that peak over into the child's.
# With preexec_fn, which makes it a fork, it is the same. VmHWM is the child's own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import platform
import subprocess
import sys

ASK = """
import resource
status = open("/proc/self/status").read()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def child():
    return [int(word) for word in subprocess.check_output([sys.executable, "-c", ASK]).split()]


before = child()
held = bytearray(800 << 20)
after = child()
print(f"Python {platform.python_version()}, Linux {platform.release()}; MiB by ru_maxrss and by VmHWM:")
print(f"  started by a small process: {before[0]} and {before[1]}")
print(f"  started by one of 800 MiB:  {after[0]} and {after[1]}")
assert before[0] < 100 and max(before[1], after[1]) < 100
assert after[0] >= 800, "ru_maxrss is the child's own: this finding is out of date"
PYTHON
python3 "$folder/show.py"
