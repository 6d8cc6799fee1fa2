"""The loop: `fit`, `train_one_epoch`, `evaluate`. All that a run is lies in one dict, the state; see `state.py`."""

import datetime
import time

import numpy as np
import paddle
import paddle.nn.functional as F
from tqdm import tqdm

from data import DataError, unnormalise

from . import figures, parallel
from .amp import MixedPrecision
from .checkpoint import CheckpointError
from .ema import averaged
from .errors import Stopped, UserError
from .history import Point
from .metrics import Meter
from .predictions import Predictions
from .records import has_progress_bar
from .runtime import gpu_memory, seed_step
from .state import gradient_norm, is_finite, progress, save, weights_and_optimizer

DIVERGED = "diverged_"


class Diverged(UserError):
    """The loss or the weights are NaN or infinite."""

    def __init__(self, what, step, rate):
        super().__init__(
            f"{what} after step {step} (learning rate {rate:.3e}): training stopped; the state is in "
            f"checkpoints/{DIVERGED}*, earlier checkpoints are whole. Try a lower optimizer.learning_rate, and "
            "amp.level=O0 or amp.dtype=bfloat16 where mixed precision is on"
        )


def fit(
    state,
    train_loader,
    val_loader,
    criterion,
    records,
    checkpoints,
    stop,
    *,
    epochs,
    accumulate=1,
    seed,
    log_interval,
    save_every_steps,
    prediction_interval,
    histogram_interval,
    dataset,
    mixing=None,
):
    """Train up to `epochs`, from wherever the state is, validating after each; leave checkpoints, curves and records.

    The dataset is what the loaders' pictures come from; all processes validate on parts of `dataset.val`. `mixing`, a
    `Mixing`, is for training batches alone.

    Raises:
        Stopped: a signal came, `Diverged`: the loss is not finite, `DataError`: a worker died; the state is saved then.
        CheckpointError: the final weights cannot be written.
    """

    def save_checkpoint(prefix=""):
        try:
            save_to_resume(state, checkpoints, records, prefix)
        except CheckpointError as error:
            records.warn(f"{error}; the next checkpoint tries again")

    def after_step(logged):
        if save_every_steps and state["step"] % save_every_steps == 0:
            refuse_weights_that_are_not_finite(state)
            save_checkpoint()
        if logged or parallel.size() == 1:  # several processes wait for each other to agree, which costs less there
            stop.check()

    writes = parallel.rank() == 0
    if state["step"] == 0 and writes:
        records.picture("augmented", augmented_grid(train_loader, dataset.classes), 0)
    try:
        while state["epoch"] < epochs:
            train_one_epoch(
                state,
                train_loader,
                criterion,
                records,
                after_step,
                epochs=epochs,
                accumulate=accumulate,
                seed=seed,
                log_interval=log_interval,
                histogram_interval=histogram_interval,
                mixing=mixing,
            )
            check = stop.check if parallel.size() == 1 else None
            with averaged(state):
                result = evaluate(
                    state["model"], val_loader, criterion, len(dataset.classes), state["precision"], check
                )
            stop.check()
            refuse_weights_that_are_not_finite(state)
            finish_epoch(state, result, records, epochs)
            epoch = state["epoch"]
            if writes and (epoch % prediction_interval == 0 or epoch == epochs):
                for name in figures.ON_DASHBOARD:
                    figure = figures.OF_PREDICTIONS[name](result["predictions"], dataset.val.images, dataset.classes)
                    records.picture(name, figure, state["step"])
            save_checkpoint()
    except (Stopped, Diverged, DataError) as reason:
        if parallel.size() == 1 or not isinstance(reason, DataError):  # which one process has, and the others not
            sound = not isinstance(reason, Diverged) and is_finite(state["model"])
            save_checkpoint("" if sound else DIVERGED)
            parallel.wait()  # a process that ends has the launcher end the others, the one that writes too
        if isinstance(reason, DataError) and parallel.size() == 1:
            stop.check()  # a signal to all of them has ended the workers too
        raise
    if writes:
        save(state, records.folder, "final")
    parallel.wait()


def train_one_epoch(
    state,
    loader,
    criterion,
    records,
    after_step,
    *,
    epochs,
    seed,
    log_interval,
    accumulate=1,
    histogram_interval=0,
    mixing=None,
):
    """Train on what the epoch has left; between two log points nothing is read back from the device.

    A step takes `accumulate` batches, each mixed by `mixing` if there is one; those at the end of the epoch that do not
    make a step are dropped.
    `after_step(logged)` is called after each step, when the state is that of a whole number of steps.
    """
    epoch, steps, meter = state["epoch"] + 1, len(loader) // accumulate, state["meter"]
    loader.batch_sampler.set_epoch(state["epoch"], start=state["iteration"] * accumulate)
    state["model"].train()
    clock = _Clock()
    bar = tqdm(
        zip(*[iter(loader)] * accumulate, strict=False),  # one iterator so many times: that many batches at once
        desc=f"epoch {epoch}/{epochs}",
        initial=state["iteration"],
        total=steps,
        leave=False,
        disable=not has_progress_bar(),
    )
    for batches in bar:
        clock.batch_is_here()
        iteration, seen, rate = state["iteration"], state["step"], state["optimizer"].get_lr()
        seed_step(seed, seen, parallel.rank())
        if mixing:
            batches = [mixing(*batch, seed, seen, parallel.rank(), i) for i, batch in enumerate(batches)]
        loss, logits, labels = train_step(state, batches, criterion)
        meter.update(loss, logits, labels)
        state["iteration"], state["step"] = iteration + 1, seen + 1
        clock.step_is_done(len(labels) * parallel.size())
        is_last = iteration == steps - 1
        logged = iteration % log_interval == 0 or is_last
        if logged:
            norm = gradient_norm(state["model"])
            read = meter.read()
            value, top1 = read["last_loss"], read["top1"]
            cost = clock.read()
            left = datetime.timedelta(seconds=int(cost["batch"] * ((epochs - epoch + 1) * steps - iteration - 1)))
            bar.set_postfix(loss=f"{value:.3f}", top1=f"{top1:.3f}", ips=f"{cost['ips']:.0f}", eta=str(left))
            costs = {"reader_cost": cost["reader"], "gpu_memory": gpu_memory()}
            records.point(
                Point(seen, epoch, "train", rate, value, top1, cost["ips"], gradient_norm=norm.item(), **costs)
            )
            records.step(
                f"[Train][Epoch {epoch}/{epochs}][Iter: {iteration}/{steps}] lr: {rate:.3e}, loss: {value:.5f}, "
                f"top1: {top1:.5f}, batch_cost: {cost['batch']:.5f} s, reader_cost: {cost['reader']:.5f} s, "
                f"ips: {cost['ips']:.1f} samples/s, eta: {left}"
            )
            if state["precision"].has_diverged(read["loss"]):
                raise Diverged(f"the loss is {value}", seen, rate)
            if is_last and histogram_interval and epoch % histogram_interval == 0:
                records.histograms(state["model"], state["step"])
            clock.restart()
        after_step(logged)


def finish_epoch(state, result, records, epochs):
    """Count the epoch as done, record its validation, and save its weights if they are the best so far."""
    state.update(epoch=state["epoch"] + 1, iteration=0, meter=Meter(state["model"].num_classes))
    epoch, rate = state["epoch"], state["optimizer"].get_lr()
    records.point(Point(state["step"], epoch, "val", rate, result["loss"], result["top1"], result["ips"]))
    is_best = result["top1"] > state["best"]["top1"] and _save_best(state, records)
    if is_best:
        state["best"] = {"top1": result["top1"], "epoch": epoch}
    records.info(
        f"[Eval][Epoch {epoch}/{epochs}] lr: {rate:.3e}, loss: {result['loss']:.5f}, top1: {result['top1']:.5f}, "
        f"ips: {result['ips']:.1f} samples/s, best top1: {state['best']['top1']:.5f} "
        f"(epoch {state['best']['epoch']}{', new best' if is_best else ''})"
    )
    records.curves()


def _save_best(state, records):
    """Save the best weights and return whether that worked; if not, those before stay, and stay the best."""
    try:
        if parallel.rank() == 0:
            save(state, records.folder, "best")
    except CheckpointError as error:
        records.warn(f"{error}; this epoch's weights, the best so far, are not kept")
        return False
    return True


def refuse_weights_that_are_not_finite(state):
    """Raise `Diverged` for weights that are no state to go on from, which the loss of the step before need not tell."""
    if not is_finite(state["model"]):
        raise Diverged("the weights are not finite", state["step"], state["optimizer"].get_lr())


def save_to_resume(state, checkpoints, records, prefix=""):
    """Save a checkpoint, as `Checkpoints.save` does.

    Raises:
        CheckpointError: the disk refuses it; older checkpoints are whole.
    """
    rest = progress(state)  # in all processes
    if parallel.rank() == 0:
        rest |= {"about": checkpoints.about, "records": records.position()}
        if state["average"]:
            rest["average"] = state["average"].arrays()
        weights, optimizer = weights_and_optimizer(state)
        checkpoints.save(weights, optimizer, rest, epoch=state["epoch"], step=state["step"], prefix=prefix)


def train_step(state, batches, criterion):
    """Move the weights by the mean gradients of batches [(images, labels), ...] of one size; these stay until the next.

    Returns:
        the mean loss (a scalar), all logits [pictures, classes] and labels [pictures], still on the device.
    """
    scaler, optimizer, (*others, last) = state["precision"].scaler, state["optimizer"], batches
    optimizer.clear_grad()
    with parallel.not_averaging(state["network"]):
        done = [_backward(state, batch, criterion, len(batches)) for batch in others]
    done.append(_backward(state, last, criterion, len(batches)))
    parallel.finish_gradients(state["network"])
    scaler.step(optimizer)
    scaler.update()
    state["schedule"].step()
    if state["average"]:
        state["average"].update(state["step"] + 1)
    if len(batches) == 1:
        return done[0]
    losses, logits, labels = zip(*done, strict=True)
    return paddle.stack(losses).mean(), paddle.concat(logits), paddle.concat(labels)


def _backward(state, batch, criterion, batches):
    """Add a batch's share of the gradients of so many; return its loss, logits and labels."""
    images, labels = batch
    with state["precision"].autocast():
        logits = state["network"](images)
    loss = criterion(logits.astype("float32"), labels)
    state["precision"].scaler.scale(loss / batches if batches > 1 else loss).backward()
    return loss, logits, labels


def evaluate(model, loader, criterion, num_classes, precision=None, check=None):
    """Measure a model on all pictures of a loader; `check` is called between batches and may raise.

    Returns:
        {"loss", "top1", "top5", "images", "ips", "predictions"}: loss is a true mean over pictures, accuracies are
        fractions, ips is pictures a second with loading, the first batch (warm-up) left out where there are more;
        `Predictions` of all processes' pictures.
    """
    precision = precision or MixedPrecision()
    model.eval()
    meter, logits_of_all, labels_of_all = Meter(num_classes), [], []
    begin, counted_from = time.perf_counter(), 0
    with paddle.no_grad():
        bar = tqdm(loader, desc="validation", leave=False, disable=not has_progress_bar())
        for i, (images, labels) in enumerate(bar):
            if check:
                check()
            with precision.autocast():
                logits = model(images).astype("float32")
            meter.update(criterion(logits, labels), logits, labels)
            logits_of_all.append(logits)
            labels_of_all.append(labels)
            if i == 0 and len(loader) > 1:
                meter.last_loss.item()  # waits for this device, and for no other process
                begin, counted_from = time.perf_counter(), meter.images
        result = meter.read()
    result["ips"] = (meter.images - counted_from) / (time.perf_counter() - begin) * parallel.size()
    logits, labels = paddle.zeros([0, num_classes]), paddle.zeros([0], dtype="int64")
    if logits_of_all:  # a process may have no picture
        logits, labels = paddle.concat(logits_of_all), paddle.concat(labels_of_all)
    probabilities = F.softmax(parallel.gather(logits), axis=-1)
    result["predictions"] = Predictions(probabilities.numpy(), parallel.gather(labels).numpy())
    return result


def augmented_grid(loader, classes):
    """Draw the first training pictures as the first epoch augments them."""
    samples = [loader.dataset[0, i] for i in range(min(figures.GRID, len(loader.dataset)))]
    images, labels = zip(*samples, strict=True)
    return figures.picture_grid(unnormalise(np.stack(images)), [figures.short(classes[label]) for label in labels])


class _Clock:
    """Means since the last restart: seconds a step, seconds a step spent waiting for data, pictures a second."""

    def __init__(self):
        self.restart()

    def restart(self):
        self.begin = self.last = time.perf_counter()
        self.waited, self.steps, self.images = 0.0, 0, 0

    def batch_is_here(self):
        self.waited += time.perf_counter() - self.last

    def step_is_done(self, images):
        self.steps, self.images, self.last = self.steps + 1, self.images + images, time.perf_counter()

    def read(self):
        """Read right after a read-back from the device, or work still queued there would not be counted."""
        elapsed = time.perf_counter() - self.begin
        return {"batch": elapsed / self.steps, "reader": self.waited / self.steps, "ips": self.images / elapsed}
