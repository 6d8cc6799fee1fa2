"""The measured side: a process that holds this project or another implementation, and answers requests.

Paddle is imported late, because some settings have to be in place or be removed before that.
"""

import functools
import itertools
import json
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import InputError
from engine.errors import UserError, in_short
from engine.system import children, tuning
from engine.system.device import describe_device, select_device
from engine.system.environment import environment
from engine.system.terminal import reader_is_gone

if TYPE_CHECKING:
    from paddle import Tensor

    from data import Dataset
    from engine.config.options import Config
    from engine.system.precision import MixedPrecision
    from engine.training.state import State

WARM_UP = 2  # turns: the first one allocates memory and selects kernels
STEPS_ON_A_GPU = 10  # per turn: waiting after each step would empty the GPU's queue, which training does not do
BATCHES = 8  # per turn of a pipeline: loaders prefetch a few batches, so single ones would come in bursts
ADAM = {"learning_rate": 1e-4, "weight_decay": 1e-5}  # of another implementation: the notebook's, with L2
RUNTIMES = ("eager", "paddle", "onnx")  # this project's code, and the runtimes of its exports


def serve() -> None:
    """Answer requests, one line of JSON each, until the side that measures is gone."""
    answers = os.dup(1)
    os.dup2(2, 1)  # an implementation may print, which must not get between the answers
    bench = _Bench()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": getattr(bench, request.pop("action"))(**request)}
        except InputError as error:
            fields = {"key": error.key, "value": error.value, "place": error.place}
            answer = {"error": str(error), "fields": fields}
        except (Exception, SystemExit) as error:
            answer = {"error": in_short(error, where=True)}
        try:
            os.write(answers, json.dumps(answer, default=str).encode() + b"\n")
        except OSError as error:
            if not reader_is_gone(error):
                raise
            return


class _Bench:
    """The requests that a measured process answers, all with plain values."""

    device: str
    subject: "Subject"
    part: "Part"
    part_name: str

    def start(
        self,
        config: str,
        overrides: Sequence[str],
        file: str | None,
        settings: str,
        environ: Collection[str],
        device: str | None = None,
    ) -> dict[str, Any]:
        """Set the process up, and return its environment."""
        _undo_before_paddle(settings, environ)
        from engine.config.load import load_config
        from engine.system import tf32
        from engine.system.seeds import seed_everything

        loaded = load_config(config, overrides)
        self.device = settle(settings, device or loaded.device)
        if not file:
            tf32.allow(loaded.amp.allow_tf32)
        seed_everything(loaded.train.seed)
        self.subject = Theirs(loaded, file) if file else Ours(loaded, self.device)
        self.subject.steps_a_turn = 1 if self.device == "cpu" else STEPS_ON_A_GPU
        return {
            **environment(self.device),
            "device_name": self.device,
            "cpu": describe_device("cpu"),
            "steps_a_turn": self.subject.steps_a_turn,
            "computes_in": self.subject.computes_in,
        }

    def begin(self, part: str, **arguments: Any) -> str | None:
        """Build what a part needs and warm it up; return the name of the data that it reads."""
        self.part_name = part
        self.part = getattr(self.subject, part)(**arguments)
        for _ in range(self.part.warm_up):
            self.turn()
        return self.part.data

    def turn(self) -> dict[str, float]:
        """Run one turn; return the seconds per step, and how many of them were spent waiting for data."""
        self.subject.waited = 0.0
        begin = time.perf_counter()
        for _ in range(self.part.steps):
            result = self.part.run()
        if result is not None:
            result.numpy()  # waits for the device
        seconds = (time.perf_counter() - begin) / self.part.steps
        return {"seconds": seconds, "waited": self.subject.waited / self.part.steps}

    def peak_memory(self) -> float:
        """Return the peak memory in MB: of tensors on a GPU, of the whole process on a CPU."""
        if self.device == "cpu":
            return children.peak_memory()
        import paddle

        return paddle.device.cuda.max_memory_allocated() / 1e6

    def kept(self) -> dict[str, float]:
        """Return how many MB per picture a training step keeps for its backward pass; nothing of other parts.

        On a CPU also how many a GPU would keep in float32, where Paddle's own operators run.
        """
        from engine.benchmark.count import as_on_a_gpu, kept

        if self.part_name != "train_step":
            return {}
        model, images = self.subject.model, self.subject.batch[0]
        found = {"kept_mb_per_picture": kept(lambda: model(images), model.parameters()) / len(images) / 1e6}
        if self.device == "cpu":
            with as_on_a_gpu():
                on_a_gpu = kept(lambda: model(images), model.parameters())
            found["kept_mb_per_picture_on_a_gpu"] = on_a_gpu / len(images) / 1e6
        return found

    def count(self) -> dict[str, int]:
        """Return the profiler's counts of one step; on a CPU those that a GPU would have, nothing at amp.level O2."""
        from engine.benchmark.count import as_on_a_gpu, count

        if self.device != "cpu":
            return count(self.part.run, on_gpu=True)
        if self.subject.config.amp.level == "O2":  # what stands in for 16 bits has no float32 copies in an optimizer
            return {}
        with as_on_a_gpu():
            subject = self.subject.as_on_a_gpu()
            part = getattr(subject, self.part_name)()
            for _ in range(WARM_UP):
                part.run()
            return count(part.run, False, len(subject.model.parameters()))


def _undo_before_paddle(settings: str, environ: Collection[str]) -> None:
    """Remove the environment variables that importing this project has set, for settings that go without them."""
    if settings in ("threads", "stock"):
        for name in set(os.environ) - set(environ):
            del os.environ[name]


def settle(settings: str, device: str) -> str:
    """Select the device and apply settings to the process; return the device's name.

    settings: `ours` and `flags` are all those of train.py, `same` is all but Paddle's flags, `threads` is the number
    of threads alone, `stock` is none.
    """
    if settings in ("ours", "flags"):
        return select_device(device)
    import paddle

    paddle.set_device(device)
    if device == "cpu" and settings in ("same", "threads"):
        tuning.set_cpu_threads()
    if device == "cpu" and settings == "same":
        tuning.keep_freed_memory()
    return device


@dataclass
class Part:
    """One part of a benchmark: `run` does one step and returns a tensor to wait for, or None."""

    run: Callable[[], Any]
    steps: int = 1  # per turn
    warm_up: int = WARM_UP  # turns
    data: str | None = None  # the name of the data


class Subject:
    """An implementation of the model, with a method for each part of a benchmark that it supports.

    Attributes:
        computes_in: the precision, for people.
        waited: the seconds that the current turn has waited for data.
        steps_a_turn: steps per turn.
    """

    model: Any
    criterion: Callable[["Tensor", "Tensor"], "Tensor"]
    computes_in = "what the file chooses"

    def __init__(self, config: "Config"):
        self.config, self.waited, self.steps_a_turn = config, 0.0, 1

    @functools.cached_property
    def batch(self) -> tuple["Tensor", "Tensor"]:
        """Seeded pictures of normal noise [B, 3, S, S] and labels [B]."""
        import paddle

        rng, data = np.random.default_rng(self.config.train.seed), self.config.data
        images = rng.standard_normal((data.batch_size, 3, data.image_size, data.image_size), dtype=np.float32)
        labels = rng.integers(0, self.config.model.num_classes, data.batch_size)
        return paddle.to_tensor(images), paddle.to_tensor(labels)

    def forward(self) -> Part:
        self.model.eval()
        self._check()
        return Part(lambda: self.logits(self.batch[0]), self.steps_a_turn)

    def train_step(self) -> Part:
        self.model.train()
        self._check()
        return Part(lambda: self.step(*self.batch), self.steps_a_turn)

    def step(self, images: "Tensor", labels: "Tensor") -> "Tensor":
        """Do one training step; return the loss."""
        raise NotImplementedError

    def as_on_a_gpu(self) -> "Subject":
        """Return a subject that does on a CPU what this one would do on a GPU; see `count.as_on_a_gpu`."""
        return self

    def logits(self, images: "Tensor") -> "Tensor":
        """Pictures [B, 3, S, S] -> logits [B, classes], without gradients."""
        import paddle

        with paddle.no_grad():
            return self.model(images).astype("float32")

    def _check(self) -> None:
        shape = list(self.logits(self.batch[0]).shape)
        expected = [self.config.data.batch_size, self.config.model.num_classes]
        if shape != expected:
            raise UserError(
                f"the model returns the shape {shape}, expected {expected} (pictures, classes)",
                key="build",
                value=shape,
            )


class Ours(Subject):
    """This project, as its config says."""

    precision: "MixedPrecision"

    def __init__(self, config: "Config", device: str):
        from engine.config import build

        super().__init__(config)
        self.device = device
        self.precision = build.build_precision(config, device)
        self.computes_in = self.precision.describe()

    def as_on_a_gpu(self) -> "Ours":
        from engine.benchmark.count import stand_in_precision

        subject = Ours(self.config, self.device)
        subject.precision = stand_in_precision(self.config.amp.level)
        return subject

    @functools.cached_property
    def state(self) -> "State":
        from engine.config import build
        from engine.training.parts import build_state

        # Many steps, so that the learning rate does not reach 0 during a measurement.
        return build_state(self.config, build.build_model(self.config), self.precision, total_steps=1_000_000)

    @functools.cached_property
    def model(self) -> Any:
        return self.state.model

    @functools.cached_property
    def criterion(self) -> Callable[["Tensor", "Tensor"], "Tensor"]:  # type: ignore[override]
        from engine.config import build

        return build.build_criterion(self.config)

    def step(self, images: "Tensor", labels: "Tensor") -> "Tensor":
        """Do one step of the trainer's loop, without records, mixing and accumulation; return the loss."""
        from engine.training.step import train_step

        return train_step(self.state, [(images, labels)], self.criterion)[0]

    def pipeline(self) -> Part:
        batches, data = self._batches()
        return Part(lambda: next(batches)[0][0, 0, 0, 0], BATCHES, data=data)  # a single number, to wait for the device

    def end_to_end(self) -> Part:
        self.model.train()
        batches, data = self._batches()

        def run() -> "Tensor":
            begin = time.perf_counter()
            images, labels = next(batches)
            self.waited += time.perf_counter() - begin
            return self.step(images, labels)

        # Batches that are ready at the beginning would hide how long the later ones take: one per worker, and more.
        ready = self.config.data.num_workers + {"host": 5, "fast": 2}[self.config.data.pipeline]
        return Part(run, self.steps_a_turn, max(WARM_UP, ready), data)

    def inference(self, runtime: str) -> Part:
        """The forward pass in one of `RUNTIMES`."""
        from engine.inference.export import export
        from engine.inference.program import Exported, describe, weights_in
        from engine.weights import pdparams

        if runtime == "eager":
            return self.forward()
        with tempfile.TemporaryDirectory() as temporary:
            weights, folder = Path(temporary) / "model.pdparams", Path(temporary) / runtime
            pdparams.save({weights: self.model.state_dict()})
            export(weights, self.config, runtime, folder)
            program = Exported(folder, describe(weights_in(folder)), self.device)
        return Part(lambda: program(self.batch[0]), self.steps_a_turn)

    def save(self, folder: str) -> Part:
        from engine.output.checkpoints import Checkpoints
        from engine.training.state import progress, weights_and_optimizer

        self.step(*self.batch)  # an optimizer has no state before its first step
        checkpoints, steps = Checkpoints(folder, keep=1), itertools.count()

        def run() -> None:
            weights, optimizer = weights_and_optimizer(self.state)
            checkpoints.save(weights, optimizer, progress(self.state), epoch=0, step=next(steps))

        return Part(run)

    def _batches(self) -> tuple[Iterator[tuple["Tensor", "Tensor"]], str]:
        """Return endless training batches, and the name of their data."""
        from engine.config import build

        dataset, data = _dataset(self.config)
        loader = build.build_train_loader(self.config, dataset)

        def forever() -> Iterator[tuple["Tensor", "Tensor"]]:
            epoch = 0
            while True:
                loader.batch_sampler.set_epoch(epoch)
                yield from loader
                epoch += 1

        return forever(), data


class Theirs(Subject):
    """Another implementation, from a Python file, with the notebook's plain Adam."""

    def __init__(self, config: "Config", file: str):
        import paddle

        from engine.training import trainer  # noqa: F401 - ours imports it too, and imports count as peak memory
        from models.names import short_name

        super().__init__(config)
        found = runpy.run_path(file)
        if not callable(found.get("build")):
            raise UserError("the file has no function build(variant, num_classes): define one", key="build", place=file)
        self.model = found["build"](short_name(config.model.name), config.model.num_classes)
        if not isinstance(self.model, paddle.nn.Layer):
            kind = type(self.model).__name__
            raise UserError(
                f"build returns a {kind}, expected a paddle.nn.Layer (a torch.nn.Module needs --against-python)",
                key="build",
                value=kind,
                place=file,
            )
        self.criterion = found.get("loss") or self._our_loss()
        self.optimizer = paddle.optimizer.Adam(parameters=self.model.parameters(), **ADAM)

    def _our_loss(self) -> Callable[["Tensor", "Tensor"], "Tensor"]:
        from engine.config import build

        return build.build_criterion(self.config)

    def step(self, images: "Tensor", labels: "Tensor") -> "Tensor":
        loss = self.criterion(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.clear_grad()
        return loss


def _dataset(config: "Config") -> tuple["Dataset", str]:
    """Return the config's data, or random pictures of the same shape if it does not exist, and its name."""
    from data import SIDE, Dataset, Split
    from engine.config import build

    if Path(config.data.file).exists():
        return build.build_dataset(config), config.data.file
    rng = np.random.default_rng(config.train.seed)
    config.model.num_classes = config.model.num_classes or 10
    side = build.side(config)
    count = max(50_000 * SIDE**2 // side**2, config.data.batch_size)  # as many bytes as CIFAR-10 has
    images = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    split = Split("random pictures", images, rng.integers(0, config.model.num_classes, len(images)))
    classes = [f"class {i}" for i in range(config.model.num_classes)]
    return Dataset(split, split, classes), f"{count:,} random pictures (there is no {config.data.file})"


if __name__ == "__main__":
    serve()
