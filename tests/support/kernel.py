"""A Jupyter kernel for tests: cells are executed in it, and interrupted, as a notebook's are."""

import contextlib
import os
import tempfile
import threading
from dataclasses import dataclass, field

from tests.support.runs import ROOT


@dataclass
class Executed:
    """What came of a cell: its status (`ok` or `error`), the text of each stream, and each display's kinds."""

    status: str = ""
    text: dict = field(default_factory=lambda: {"stdout": "", "stderr": ""})
    displays: list = field(default_factory=list)
    errors: list = field(default_factory=list)


class Kernel:
    def __init__(self, manager, client):
        self.manager, self.client = manager, client

    def run(self, code, interrupt_at=None, seconds=300):
        """Execute a cell. `interrupt_at`: a text of a stream or a display at which the cell is interrupted, once."""
        done, waiting = Executed(), interrupt_at is not None

        def hear(message):
            nonlocal waiting
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "stream":
                done.text[content["name"]] += content["text"]
            elif kind in ("display_data", "execute_result"):
                done.displays.append(content["data"])
            elif kind == "error":
                done.errors.append((content["ename"], content["evalue"]))
            if waiting and interrupt_at in str(content):
                waiting = False
                threading.Thread(target=self.manager.interrupt_kernel).start()

        reply = self.client.execute_interactive(code, output_hook=hear, timeout=seconds)
        done.status = reply["content"]["status"]
        return done


@contextlib.contextmanager
def running():
    """A kernel in the project's folder, whose environment has nothing of pytest's."""
    from jupyter_client.manager import KernelManager

    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
    folder = tempfile.TemporaryDirectory()
    manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{folder.name}/kernel")
    manager.start_kernel(cwd=str(ROOT), env={**environment, "PYTHONPATH": str(ROOT)})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        folder.cleanup()
