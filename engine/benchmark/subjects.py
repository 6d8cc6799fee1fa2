"""What a benchmark measures, each in a process that answers requests: this project, or another implementation."""

import contextlib
import functools
import itertools
import json
import os
import re
import resource
import runpy
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError
from engine.errors import UserError
from engine.system import tuning
from engine.system.device import describe_device, select_device
from engine.system.environment import environment

WARM_UP = 2  # turns: the first allocates, and chooses kernels where there is a choice
STEPS_ON_A_GPU = 10  # a turn: waiting after each step would empty the GPU's queue, as training does not
BATCHES = 8  # a turn of a pipeline: loaders fetch a few ahead, which single ones would show as bursts
RUNTIMES = ("eager", "paddle", "onnx")  # this project's code, and what runs an export of each format
VIEWS = {"reshape", "flatten", "transpose", "slice", "split_with_num", "split"}  # no work on a device: not counted


def short_name(name):
    """`regionvit_tiny_224` -> `tiny`"""
    return re.sub(r"^regionvit_|_\d+$", "", name)


def serve():
    """Answer requests, one line of JSON each, until the side that asks is gone."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what an implementation prints must not come between the answers
    bench = _Bench()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": getattr(bench, request.pop("action"))(**request)}
        except InputError as error:
            answer = {"error": str(error)}
        except (Exception, SystemExit) as error:
            answer = {"error": _in_short(error)}
        try:
            os.write(answers, json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:
            return


def _in_short(error):
    """Return what and where an exception is, without the traceback that Paddle puts into the text of its own."""
    text = str(error).rpartition("Error Message Summary:")[2].strip("-\n ")
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({where.filename}, line {where.lineno})"


class _Bench:
    """What a subject can be asked; all answers are plain values."""

    def start(self, config, overrides, file, settings, environ, device=None):
        """Set the process up, and return what it runs on."""
        _undo_before_paddle(settings, environ)
        from engine.config.load import load_config
        from engine.system.seeds import seed_everything

        config = load_config(config, overrides)
        self.device = settle(settings, device or config.device)
        seed_everything(config.train.seed)
        self.subject = Theirs(config, file) if file else Ours(config, self.device)
        self.subject.steps_a_turn = 1 if self.device == "cpu" else STEPS_ON_A_GPU
        return {
            **environment(self.device),
            "device_name": self.device,
            "cpu": describe_device("cpu"),
            "steps_a_turn": self.subject.steps_a_turn,
            "computes_in": self.subject.computes_in,
        }

    def begin(self, part, **arguments):
        """Build what a part needs and warm it up; return what data it reads."""
        self.part = getattr(self.subject, part)(**arguments)
        for _ in range(self.part.warm_up):
            self.turn()
        return self.part.data

    def turn(self):
        """Return the seconds that a step took, and how many of them were spent waiting for data."""
        self.subject.waited = 0.0
        begin = time.perf_counter()
        for _ in range(self.part.steps):
            result = self.part.run()
        if result is not None:
            result.numpy()  # waits for the device
        seconds = (time.perf_counter() - begin) / self.part.steps
        return {"seconds": seconds, "waited": self.subject.waited / self.part.steps}

    def peak_memory(self):
        """Return megabytes: on a GPU what tensors held at most, on a CPU the whole process with Python and Paddle."""
        if self.device == "cpu":
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return peak / (1e6 if sys.platform == "darwin" else 1e3)
        import paddle

        return paddle.device.cuda.max_memory_allocated() / 1e6

    def count(self):
        """Return what the profiler sees of one step; on a CPU, of the operators that a GPU would run."""
        from paddle import profiler

        targets = [profiler.ProfilerTarget.CPU] + [profiler.ProfilerTarget.GPU] * (self.device != "cpu")
        # Without a function for the trace Paddle writes it into the current folder.
        profile = profiler.Profiler(targets=targets, on_trace_ready=lambda _: None)
        with _as_on_a_gpu(), profile:
            self.part.run().numpy()
        return _counts(profile.profiler_result.get_data().values(), on_gpu=self.device != "cpu")


@contextlib.contextmanager
def _as_on_a_gpu():
    """Run Paddle's own operators, and its views where it has them, as a GPU does: for counting where there is none."""
    import paddle

    from models import cpu

    name = "FLAGS_use_stride_kernel"
    before = paddle.get_flags(name)
    paddle.set_flags({name: True})
    try:
        with cpu.plain():
            yield
    finally:
        paddle.set_flags(before)


def _undo_before_paddle(settings, environ):
    """Take back what importing this package has put into the environment, where the settings are to be less."""
    if settings in ("threads", "stock"):
        for name in set(os.environ) - set(environ):
            del os.environ[name]


def settle(settings, device):
    """Choose the device and give the process its settings; return the device's name.

    `ours` and `flags`: all that train.py has. `same`: all but Paddle's flags. `threads`: every core. `stock`: nothing.
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


def _counts(roots, on_gpu):
    """Count the profiler's events below its roots, one a thread."""
    nodes = [node for root in roots for node in _below(root)]
    # One event a kernel that an operator runs: Paddle 2.6 calls it "compute", 3.x "kernel launch".
    run = [node.name.split()[0] for node in nodes if node.name.endswith((" compute", " kernel launch"))]
    counts = {"operators_per_step": sum(name.removesuffix("_grad") not in VIEWS for name in run)}
    if on_gpu:
        calls = [call for node in nodes for call in node.runtime_node]
        kinds = [event.type.name for call in calls for event in call.device_node]
        counts["kernels_per_step"] = kinds.count("Kernel")
        counts["copies_per_step"] = kinds.count("Memcpy")
        counts["synchronisations_per_step"] = sum("Synchronize" in call.name for call in calls)
    return counts


def _below(node):
    yield node
    for child in node.children_node:
        yield from _below(child)


@dataclass
class Part:
    """How to measure something: `run` does one step and returns a tensor to wait for, or None."""

    run: Callable
    steps: int = 1  # a turn
    warm_up: int = WARM_UP  # turns
    data: str | None = None  # what is read


class Subject:
    """An implementation of the model; a method for each part that it takes part in."""

    precision, computes_in = None, "what the file chooses"

    def __init__(self, config):
        self.config, self.waited, self.steps_a_turn = config, 0.0, 1

    @functools.cached_property
    def batch(self):
        """Seeded normal pictures [B, 3, S, S] and labels [B]."""
        import paddle

        rng, data = np.random.default_rng(self.config.train.seed), self.config.data
        images = rng.standard_normal((data.batch_size, 3, data.image_size, data.image_size), dtype=np.float32)
        labels = rng.integers(0, self.config.model.num_classes, data.batch_size)
        return paddle.to_tensor(images), paddle.to_tensor(labels)

    def forward(self):
        self.model.eval()
        self._check()
        return Part(lambda: self.logits(self.batch[0]), self.steps_a_turn)

    def train_step(self):
        self.model.train()
        self._check()
        return Part(lambda: self.step(*self.batch), self.steps_a_turn)

    def logits(self, images):
        """Pictures [B, 3, S, S] -> logits [B, classes], without gradients."""
        import paddle

        with paddle.no_grad(), self.precision.autocast() if self.precision else contextlib.nullcontext():
            return self.model(images).astype("float32")

    def _check(self):
        shape = list(self.logits(self.batch[0]).shape)
        expected = [self.config.data.batch_size, self.config.model.num_classes]
        if shape != expected:
            raise UserError(f"the model gives {shape}, expected {expected}: pictures, classes")


class Ours(Subject):
    """This project, as its config says."""

    def __init__(self, config, device):
        from engine.config import build

        super().__init__(config)
        self.device = device
        self.precision = build.build_precision(config, device)
        self.computes_in = self.precision.describe()

    @functools.cached_property
    def state(self):
        from engine.config import build
        from engine.training.parts import build_state

        # The rate must not reach 0 however long one measures.
        return build_state(self.config, build.build_model(self.config), self.precision, total_steps=1_000_000)

    @property
    def model(self):
        return self.state.model

    @functools.cached_property
    def criterion(self):
        from engine.config import build

        return build.build_criterion(self.config)

    def step(self, images, labels):
        """One step of the trainer's loop, its records, mixing and accumulation left out; return the loss."""
        from engine.training.step import train_step

        return train_step(self.state, [(images, labels)], self.criterion)[0]

    def pipeline(self):
        batches, data = self._batches()
        return Part(lambda: next(batches)[0][0, 0, 0, 0], BATCHES, data=data)  # one number, to wait for the device

    def end_to_end(self):
        self.model.train()
        batches, data = self._batches()

        def run():
            begin = time.perf_counter()
            images, labels = next(batches)
            self.waited += time.perf_counter() - begin
            return self.step(images, labels)

        # The workers' first batches were fetched ahead, two each, and would hide how long the later ones take.
        return Part(run, self.steps_a_turn, max(WARM_UP, 2 * self.config.data.num_workers), data)

    def inference(self, runtime):
        """The forward pass by one of `RUNTIMES`."""
        from engine.inference import program as exported
        from engine.inference.export import export
        from engine.weights import pdparams

        if runtime == "eager":
            return self.forward()
        with tempfile.TemporaryDirectory() as folder:
            weights, folder = Path(folder) / "model.pdparams", Path(folder) / runtime
            pdparams.save({weights: self.model.state_dict()})
            export(weights, self.config, runtime, folder)
            description = exported.describe(exported.weights_in(folder))
            program = exported.Exported(folder, description, self.device)
        return Part(lambda: program(self.batch[0]), self.steps_a_turn)

    def save(self, folder):
        from engine.output.checkpoints import Checkpoints
        from engine.training.state import progress, weights_and_optimizer

        self.step(*self.batch)  # before its first step an optimizer has no state
        checkpoints, steps = Checkpoints(folder, keep=1), itertools.count()

        def run():
            weights, optimizer = weights_and_optimizer(self.state)
            checkpoints.save(weights, optimizer, progress(self.state), epoch=0, step=next(steps))

        return Part(run)

    def _batches(self):
        """Return training batches without end, and what they are made of."""
        from engine.config import build

        dataset, data = _dataset(self.config)
        loader = build.build_train_loader(self.config, dataset)

        def forever():
            epoch = 0
            while True:
                loader.batch_sampler.set_epoch(epoch)
                yield from loader
                epoch += 1

        return forever(), data


class Theirs(Subject):
    """Another implementation, out of a Python file, with the notebook's plain Adam."""

    def __init__(self, config, file):
        import paddle

        from engine.training import trainer  # noqa: F401 - as ours does: what is imported counts in a process's peak of memory

        super().__init__(config)
        found = runpy.run_path(file)
        if not callable(found.get("build")):
            raise UserError("the file has no function build(variant, num_classes)")
        self.model = found["build"](short_name(config.model.name), config.model.num_classes)
        self.criterion = found.get("loss") or self._our_loss()
        self.optimizer = paddle.optimizer.Adam(
            parameters=self.model.parameters(), learning_rate=1e-4, weight_decay=1e-5
        )

    def _our_loss(self):
        from engine.config import build

        return build.build_criterion(self.config)

    def step(self, images, labels):
        loss = self.criterion(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.clear_grad()
        return loss


def _dataset(config):
    """Return the config's data, or random pictures of its shape where there is none, and which it is."""
    from data import SIDE, Dataset, Split
    from engine.config import build

    if Path(config.data.file).exists():
        return build.build_dataset(config), config.data.file
    rng = np.random.default_rng(config.train.seed)
    side = build.side(config)
    count = max(50_000 * SIDE**2 // side**2, config.data.batch_size)  # as many bytes as CIFAR-10 has
    images = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    split = Split("random pictures", images, rng.integers(0, config.model.num_classes, len(images)))
    classes = [f"class {i}" for i in range(config.model.num_classes)]
    return Dataset(split, split, classes), f"{count:,} random pictures (there is no {config.data.file})"


if __name__ == "__main__":
    serve()
