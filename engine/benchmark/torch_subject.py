"""The measured side in torch: a script for another Python, which has torch and needs nothing of this project.

It answers the same requests as `subjects`, one line of JSON each. It runs on Python 3.8 or newer.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import runpy
import sys
import time
import traceback
from typing import Any, Callable, Sequence  # noqa: UP035 - Python 3.8 has them here alone

import torch
from torch import Tensor, nn


class Refused(Exception):
    """The file with the implementation cannot be used; `value` is what is wrong with it."""

    def __init__(self, message: str, value: Any = None):
        super().__init__(message)
        self.value = value


def serve() -> None:
    """Answer requests until the side that measures is gone."""
    answers = os.dup(1)
    os.dup2(2, 1)  # an implementation may print, which must not get between the answers
    bench = _Bench()
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = {"answer": getattr(bench, request.pop("action"))(**request)}
        except Refused as error:
            answer = {"error": str(error), "fields": {"key": "build", "value": error.value}}
        except (Exception, SystemExit) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split())
            answer = {"error": f"{type(error).__name__}: {text} ({frame.filename}, line {frame.lineno})"}
        try:
            os.write(answers, json.dumps(answer).encode() + b"\n")
        except OSError:
            return


class _Bench:
    """The requests, all with plain values."""

    run: Callable[[], Tensor]

    def start(
        self,
        *,
        file: str,
        variant: str,
        num_classes: int,
        batch: Sequence[int],
        seed: int,
        device: str,
        threads: int | None,
        malloc: Sequence[Sequence[int]],
        label_smoothing: float,
        adam: dict[str, float],
        warm_up: int,
        steps_on_a_gpu: int,
    ) -> dict[str, Any]:
        """Set the process up, build the model, and return the environment.

        Args:
            batch: the shape of the pictures, [B, 3, S, S].
            threads: None leaves torch's own number.
            malloc: pairs for mallopt.
            adam: keywords of torch.optim.Adam.
            warm_up: turns before the first that counts.
        """
        if threads:
            torch.set_num_threads(threads)
        _set_malloc(malloc)
        torch.manual_seed(seed)
        self.device = torch.device(device.replace("gpu", "cuda"))
        self.warm_up, self.steps_a_turn = warm_up, 1 if device == "cpu" else steps_on_a_gpu

        here = os.path.dirname(os.path.abspath(__file__))
        # As if the file itself had been started: Python has put the folder of this script there.
        sys.path[:] = [os.path.dirname(os.path.abspath(file)), *(path for path in sys.path if path != here)]
        found = runpy.run_path(file)
        if not callable(found.get("build")):
            raise Refused("the file has no function build(variant, num_classes): define one")
        model = found["build"](variant, num_classes)
        if not isinstance(model, nn.Module):
            raise Refused(f"build returns a {type(model).__name__}, expected a torch.nn.Module", type(model).__name__)
        self.model = model.to(self.device)
        self.criterion = found.get("loss") or nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.optimizer = torch.optim.Adam(self.model.parameters(), **adam)
        self.images = torch.randn(*batch, device=self.device)
        self.labels = torch.randint(num_classes, (batch[0],), device=self.device)
        self.shape = [batch[0], num_classes]
        return {
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "device": str(self.device),
        }

    def begin(self, part: str) -> None:
        """Warm a part up, `forward` or `train_step`; torch.compile compiles then."""
        self.run = getattr(self, f"_{part}")
        self.model.train(part == "train_step")
        for _ in range(self.warm_up):
            self.turn()

    def turn(self) -> dict[str, float]:
        """Run one turn; return the seconds per step."""
        begin = time.perf_counter()
        for _ in range(self.steps_a_turn):
            result = self.run()
        result.cpu()  # waits for the device
        return {"seconds": (time.perf_counter() - begin) / self.steps_a_turn}

    def peak_memory(self) -> float | None:
        """Return the peak memory in MB: of tensors on a GPU, of the whole process on a CPU; None on Windows' CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 1e6
        if sys.platform == "linux":
            with open("/proc/self/status", encoding="utf-8") as stream:
                return int(stream.read().partition("VmHWM:")[2].split()[0]) / 1e3  # kilobytes
        if sys.platform == "darwin":
            import resource

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes
        return None

    def kept(self) -> dict[str, float]:
        """Return no counts: those of this project are Paddle's."""
        return {}

    def count(self) -> dict[str, int]:
        """Return no counts, likewise."""
        return {}

    def _forward(self) -> Tensor:
        with torch.no_grad():
            return self._logits()

    def _train_step(self) -> Tensor:
        loss = self.criterion(self._logits(), self.labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def _logits(self) -> Tensor:
        logits = self.model(self.images)
        shape = list(getattr(logits, "shape", []))
        if shape != self.shape:
            raise Refused(f"the model returns the shape {shape}, expected {self.shape} (pictures, classes)", shape)
        return logits


def _set_malloc(options: Sequence[Sequence[int]]) -> None:
    try:
        libc = ctypes.CDLL(None)
        for option, value in options:
            libc.mallopt(option, value)
    except (OSError, AttributeError, TypeError):
        pass  # not glibc


if __name__ == "__main__":
    serve()
