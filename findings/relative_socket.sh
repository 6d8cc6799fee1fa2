#!/usr/bin/env bash
# jupyter_client 8.10.0: a kernel that is reached by files ("ipc") never answers if it starts in another folder.
#
# Expected: `KernelManager(transport="ipc")` starts a kernel in any folder, as with the default ("tcp"); ipykernel 7.4
# itself recommends IPC over TCP in a warning.
# Seen: the default name of its sockets is a relative path, `kernel-ipc`, because it is made before the connection file
# is named. Client and kernel each take it from their own working folder: with another `cwd` they never meet, and
# `wait_for_ready` runs into its timeout. In the same folder it works, and the sockets lie in the user's folder. With an
# absolute path as `ip` it works everywhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import os
import sys

import jupyter_client
from jupyter_client.manager import KernelManager


def answers(cwd, **options):
    manager = KernelManager(transport="ipc", **options)
    name = manager.ip
    manager.start_kernel(cwd=cwd)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=30)
        return name, True
    except RuntimeError:
        return name, False
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


folder = sys.argv[1]
os.makedirs(f"{folder}/here")
os.makedirs(f"{folder}/there")
os.chdir(f"{folder}/here")
same, other = answers(f"{folder}/here"), answers(f"{folder}/there")
absolute = answers(f"{folder}/there", ip=f"{folder}/sockets")[1]
print(f"jupyter_client {jupyter_client.__version__}: sockets named {same[0]!r}")
print(f"  the kernel answers: in the same folder {same[1]}, in another {other[1]}, with an absolute path {absolute}")
assert same == ("kernel-ipc", True) and absolute
assert not other[1], "a kernel in another folder now answers: this finding is out of date"
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jupyter_client==8.10.0 ipykernel==7.4.0
"$folder/venv/bin/python" "$folder/show.py" "$folder"
