"""The training loop: `Trainer.fit` trains epoch by epoch, validates after each, and leaves checkpoints and records."""

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from data import DataError, unnormalise
from engine import filenames
from engine.config.options import Config
from engine.errors import Stopped, UserError
from engine.figures import predictions as figures
from engine.history import Point
from engine.metrics.evaluate import Evaluation, evaluate
from engine.metrics.meter import Meter
from engine.output.checkpoints import Checkpoints
from engine.output.log import NoRecords, Records
from engine.system import processes
from engine.system.device import gpu_memory
from engine.system.seeds import seed_step
from engine.system.signals import Stop
from engine.system.terminal import has_progress_bar
from engine.training.clock import Clock, Cost, FirstSteps
from engine.training.ema import averaged
from engine.training.parts import Parts
from engine.training.state import State, is_finite, progress, save, weights_and_optimizer
from engine.training.step import Batch, gradient_norm, train_step
from engine.weights.pdparams import CheckpointError

DIVERGED = "diverged_"
MICRO = "regionvit_micro"  # how the names of models for small machines begin
DAY = 24 * 60 * 60  # seconds; a run that takes longer is worth a warning
LINES = 10  # the least number of times that a progress bar shows new figures in an epoch
# Without tqdm's own estimate, which is that of the epoch: the figures have that of the run.
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class Diverged(UserError):
    """The loss or the weights are NaN or infinite."""

    def __init__(self, what: str, step: int, rate: float):
        super().__init__(
            f"{what} after step {step} (learning rate {rate:.3e}): training stopped; the state is in "
            f"{filenames.CHECKPOINTS}/{DIVERGED}*, earlier checkpoints are whole. Try a lower "
            "optimizer.learning_rate, and amp.level=O0 or amp.dtype=bfloat16 if mixed precision is on",
            key="optimizer.learning_rate",
            value=rate,
        )


class Trainer:
    """Trains the parts of a run, from wherever its state is.

    Args:
        parts: model, data, loss and state; each process validates on its share of `parts.dataset.val`.
        config: only `config.train` and `config.records` are used, and the names of model and data for a warning.
        records: takes log lines, points of the history and figures.
        checkpoints: takes the states to resume from, and knows the run's folder, where weights go.
        stop: raises `Stopped` between steps if a signal came.
    """

    def __init__(
        self, parts: Parts, config: Config, records: Records | NoRecords, checkpoints: Checkpoints, stop: Stop
    ):
        self.parts, self.state, self.settings = parts, parts.state, config.train
        self.histogram_interval = config.records.histograms
        self.model_name, self.data_name = config.model.name, config.data.name
        self.first_steps = FirstSteps()
        self.records, self.checkpoints, self.stop = records, checkpoints, stop

    def fit(self) -> None:
        """Train up to the last epoch, and validate after each.

        Raises:
            Stopped: a signal came; Diverged: the loss or the weights are not finite; DataError: a worker died. The
                state is saved in all three cases.
            CheckpointError: the final weights cannot be written.
        """
        state, writes = self.state, processes.rank() == 0
        if state.step == 0 and writes:
            figure = augmented_grid(self.parts.train_loader, self.parts.dataset.classes)
            self.records.picture("augmented", figure, 0)
        try:
            while state.epoch < self.settings.epochs:
                self.train_one_epoch()
                result = self.validate()
                self.stop.check()
                refuse_weights_that_are_not_finite(state)
                self.finish_epoch(result)
                self.save_checkpoint()
        except (Stopped, Diverged, DataError) as reason:
            self._save_before_leaving(reason)
            raise
        if writes:
            save(state, self.checkpoints.output, filenames.FINAL)
        processes.wait()

    def train_one_epoch(self) -> None:
        """Train on what is left of the epoch.

        Between two log points nothing is read back from the device, except for a progress bar and after the run's
        first steps. A step takes `train.accumulate` batches; those at the end of the epoch that do not fill a step are
        dropped.
        """
        state, settings, loader, mixing = self.state, self.settings, self.parts.train_loader, self.parts.mixing
        epoch, rank, clock = state.epoch + 1, processes.rank(), Clock()
        loader.batch_sampler.set_epoch(state.epoch, start=state.iteration * settings.accumulate)
        state.model.train()
        with tqdm(
            desc=f"epoch {epoch}/{settings.epochs}",
            initial=state.iteration,
            total=self.parts.steps,
            leave=False,
            disable=not has_progress_bar(),
            bar_format=BAR,
        ) as bar:
            for batches in _grouped(loader, settings.accumulate):
                clock.batch_is_here()
                rate = state.optimizer.get_lr()
                seed_step(settings.seed, state.step, rank)
                if mixing:
                    batches = [mixing(*batch, settings.seed, state.step, rank, i) for i, batch in enumerate(batches)]
                loss, logits, labels = train_step(state, batches, self.parts.criterion)
                state.meter.update(loss, logits, labels)
                logged = state.iteration % settings.log_interval == 0 or state.iteration == self.parts.steps - 1
                state.iteration, state.step = state.iteration + 1, state.step + 1
                clock.step_is_done(len(labels) * processes.size())
                bar.update()
                if logged:
                    self._log_step(rate, clock, bar)
                    clock.restart()
                elif self._bar_is_due(bar):
                    self._show(bar, state.meter.read(), clock.read())
                if self.first_steps.are_going_on():
                    loss.item()  # waits for the device
                    self.first_steps.step_is_done()
                    self._warn_of_days()
                self._after_step(logged)

    def validate(self) -> Evaluation:
        """Measure on the validation pictures the weights that are kept: the moving average, if there is one."""
        check = self.stop.check if processes.size() == 1 else None  # several check together, after it
        state, parts = self.state, self.parts
        with averaged(state.average):
            return evaluate(state.model, parts.val_loader, parts.criterion, len(parts.dataset.classes), check)

    def finish_epoch(self, result: Evaluation) -> None:
        """Count the epoch as done, record its validation, and save its weights if they are the best so far."""
        state, epochs, trained = self.state, self.settings.epochs, self.state.meter.read()
        state.epoch, state.iteration, state.meter = state.epoch + 1, 0, Meter(state.model.num_classes)
        epoch, rate = state.epoch, state.optimizer.get_lr()
        numbers = (state.step, epoch, "val", rate, result.loss, result.top1, result.ips)
        self.records.point(Point(*numbers, cross_entropy=result.cross_entropy))
        is_best = result.top1 > state.best["top1"] and self._save_best()
        if is_best:
            state.best = {"top1": result.top1, "epoch": epoch}
        self.records.info(
            f"[Eval][Epoch {epoch}/{epochs}] lr: {rate:.3e}, loss: {result.loss:.5f}, "
            f"cross_entropy: {result.cross_entropy:.5f}, top1: {result.top1:.5f}, "
            f"train_loss: {trained['loss']:.5f}, ips: {result.ips:.1f} samples/s, best top1: {state.best['top1']:.5f} "
            f"(epoch {state.best['epoch']}{', new best' if is_best else ''})"
        )
        self.records.curves()
        if processes.rank() == 0 and (epoch % self.settings.prediction_interval == 0 or epoch == epochs):
            self._show_predictions(result)

    def save_checkpoint(self, prefix: str = "") -> None:
        """Save a checkpoint; if the disk refuses it, warn and continue."""
        try:
            save_to_resume(self.state, self.checkpoints, self.records, prefix)
        except CheckpointError as error:
            self.records.warn(f"{error}; the next checkpoint tries again")

    def _after_step(self, logged: bool) -> None:
        every = self.settings.save_every_steps
        if every and self.state.step % every == 0:
            refuse_weights_that_are_not_finite(self.state)
            self.save_checkpoint()
        if logged or processes.size() == 1:  # several processes must agree, so only where they wait anyway
            self.stop.check()

    def _log_step(self, rate: float, clock: Clock, bar: Any) -> None:
        """Read loss and accuracy back from the device and record them; `rate` was the step's learning rate."""
        state, epochs, steps = self.state, self.settings.epochs, self.parts.steps
        step, iteration, epoch = state.step - 1, state.iteration - 1, state.epoch + 1  # steps before this one
        norm = gradient_norm(state.model)
        counted = state.meter.read()
        loss, top1, cost = counted["last_loss"], counted["top1"], clock.read()
        left = self._show(bar, counted, cost)
        self.records.point(
            Point(step, epoch, "train", rate, loss, top1, cost.ips, cost.reader, norm.item(), gpu_memory())
        )
        self.records.step(
            f"[Train][Epoch {epoch}/{epochs}][Iter: {iteration}/{steps}] lr: {rate:.3e}, loss: {loss:.5f}, "
            f"top1: {top1:.5f}, batch_cost: {cost.batch:.5f} s, reader_cost: {cost.reader:.5f} s, "
            f"ips: {cost.ips:.1f} samples/s, eta: {left}"
        )
        if state.precision.has_diverged(counted["loss"]):
            raise Diverged(f"the loss is {loss}", step, rate)
        every = self.histogram_interval
        if state.iteration == steps and every and epoch % every == 0:
            self.records.histograms(state.model, state.step)

    def _bar_is_due(self, bar: Any) -> bool:
        """Return whether the progress bar shows new figures between two log points; with several processes never."""
        every = max(1, min(self.settings.log_interval, self.parts.steps // LINES))
        return not bar.disable and processes.size() == 1 and self.state.iteration % every == 0

    def _show(self, bar: Any, counted: dict, cost: Cost) -> datetime.timedelta:
        """Show figures beside the progress bar; return the time that is left of the run."""
        left = datetime.timedelta(seconds=int(cost.batch * self._steps_left()))
        loss, top1 = counted["last_loss"], counted["top1"]
        bar.set_postfix(loss=f"{loss:.3f}", top1=f"{top1:.3f}", ips=f"{cost.ips:.0f}", eta=str(left))
        return left

    def _steps_left(self) -> int:
        return (self.settings.epochs - self.state.epoch) * self.parts.steps - self.state.iteration

    def _warn_of_days(self) -> None:
        """After the first steps, warn if the run takes days on this device."""
        if self.first_steps.are_going_on():
            return
        pace = self.first_steps.pace()
        days = pace * self._steps_left() / DAY
        if days <= 1:
            return
        advice = f"on a CPU, train configs/micro_{self.data_name}.yaml instead"
        if self.model_name.startswith(MICRO):
            advice = "lower train.epochs"
        self.records.warn(
            f"at the pace of the first steps ({pace:.2g} s each), training takes {days:.1f} days on this device: "
            f"use a GPU that is fast enough; {advice}"
        )

    def _save_best(self) -> bool:
        """Save the best weights and return whether that worked; if not, the previous ones stay and remain the best."""
        try:
            if processes.rank() == 0:
                save(self.state, self.checkpoints.output, filenames.BEST)
        except CheckpointError as error:
            self.records.warn(f"{error}; this epoch's weights, the best so far, are not kept")
            return False
        return True

    def _show_predictions(self, result: Evaluation) -> None:
        val, classes = self.parts.dataset.val, self.parts.dataset.classes
        for name in figures.ON_DASHBOARD:
            figure = figures.OF_PREDICTIONS[name](result.predictions, val.images, classes)
            self.records.picture(name, figure, self.state.step)

    def _save_before_leaving(self, reason: Exception) -> None:
        """Save the state if all processes are here: only one of them knows that its worker died."""
        alone, worker_died = processes.size() == 1, isinstance(reason, DataError)
        if alone or not worker_died:
            sound = not isinstance(reason, Diverged) and is_finite(self.state.model)
            self.save_checkpoint("" if sound else DIVERGED)
            processes.wait()  # when one process ends, the launcher ends the others, including the one that writes
        if worker_died and alone:
            self.stop.check()  # a signal to the whole process group ends the workers too


def refuse_weights_that_are_not_finite(state: State) -> None:
    """Raise `Diverged` if the weights are not finite, which the last loss does not always show."""
    if not is_finite(state.model):
        raise Diverged("the weights are not finite", state.step, state.optimizer.get_lr())


def save_to_resume(state: State, checkpoints: Checkpoints, records: Records | NoRecords, prefix: str = "") -> None:
    """Save a checkpoint, as `Checkpoints.save` does. All processes must call it.

    Raises:
        CheckpointError: the disk refuses it; older checkpoints stay whole.
    """
    rest = progress(state)  # in all processes
    if processes.rank() == 0:
        rest |= {"about": checkpoints.about, "records": records.position()}
        if state.average:
            rest["average"] = state.average.arrays()
        weights, optimizer = weights_and_optimizer(state)
        checkpoints.save(weights, optimizer, rest, epoch=state.epoch, step=state.step, prefix=prefix)


def augmented_grid(loader: Any, classes: list[str]) -> Figure:
    """Draw the first training pictures as the first epoch augments them."""
    samples = [loader.dataset[0, i] for i in range(min(figures.GRID, len(loader.dataset)))]
    images, labels = zip(*samples, strict=True)
    return figures.picture_grid(unnormalise(np.stack(images)), [figures.short(classes[label]) for label in labels])


def _grouped(loader: Any, count: int) -> Iterator[Sequence[Batch]]:
    """Return an iterator over groups of `count` batches; an incomplete last group is dropped."""
    return zip(*[iter(loader)] * count, strict=False)  # the same iterator `count` times
