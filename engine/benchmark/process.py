"""The measured process, seen from the side that measures: one request and one answer at a time, as lines of JSON."""

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import UserError
from engine.system import children
from engine.system.environment import PROJECT


class Process:
    """A process that holds one subject. Leaving the `with` block ends it and whatever it has started.

    Args:
        config_file, overrides: the config, as `load_config` takes it.
        file: a Python file with another implementation; None for this project.
        settings: `ours`, or one of `measure.SETTINGS`; see `subjects.settle`.
        environ: the environment variables it starts with; None for those of this process.
    """

    def __init__(
        self,
        config_file: str,
        overrides: Sequence[str],
        file: str | None = None,
        settings: str = "ours",
        environ: Mapping[str, str] | None = None,
    ):
        variables = dict(os.environ if environ is None else environ)
        spec = {"config": config_file, "overrides": overrides, "file": file, "settings": settings}
        spec["environ"] = sorted(variables)
        variables["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *filter(None, [variables.get("PYTHONPATH")])])
        self._start([sys.executable, "-m", "engine.benchmark.subjects"], variables, spec, file)

    def _start(self, command: list[str], environ: Mapping[str, str], spec: Mapping[str, Any], file: str | None) -> None:
        """Start the process; `spec` is what it is asked to `start` with."""
        self.spec, self.file = spec, file
        self.name = f"--against {file}" if file else "the measured process"
        self.process = children.start(command, environ)
        assert self.process.stdin
        assert self.process.stdout
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        children.end(self.process)
        with contextlib.suppress(OSError):  # a request that it could not read before it died
            self.requests.close()
        self.answers.close()

    def ask(self, action: str, **arguments: Any) -> Any:
        """Send a request and return the answer.

        Raises:
            UserError: the action failed there, or the process ended.
        """
        if action == "start":
            arguments = {**self.spec, **arguments}
        try:
            self.requests.write(json.dumps({"action": action, **arguments}) + "\n")
            self.requests.flush()
            line = self.answers.readline()
        except OSError:
            line = ""
        if not line:
            status = self.process.wait()
            hint = ": out of memory? try a smaller --batch" if children.was_killed(status) else ""
            raise self._error(f"ended with status {status} in {action!r}{hint}", value=status)
        answer = json.loads(line)
        if "error" in answer:
            raise self._error(answer["error"], **answer.get("fields", {}))
        return answer["answer"]

    def _error(self, message: str, key: str | None = None, value: object = None, place: object = None) -> UserError:
        key = key or ("--against" if self.file else None)
        return UserError(f"{self.name}: {message}", key=key, value=value, place=place or self.file)
