"""Node.js, where it is installed."""

import shutil
import subprocess

NODE, NPM = shutil.which("node"), shutil.which("npm")
NO_NODE = "no Node.js: install nodejs 20 or newer"
NO_NPM = "no npm: install Node.js 20 or newer with it"


def node(*arguments, **options):
    """Run node; return the finished process."""
    command = [NODE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, **options)
