"""The loop: `fit`, `train_one_epoch`, `evaluate`.

All that a run is lies in one dict, the state: model, network (the model as it is trained: through it several processes
average their gradients), optimizer, schedule (of the learning rate), precision, epoch and step done, and the best
validation accuracy with its epoch.
"""

import datetime
import time

import numpy as np
import paddle
from tqdm import tqdm

from data import unnormalise

from . import checkpoint, parallel, plots
from .amp import MixedPrecision
from .history import Point
from .metrics import Meter
from .optimizer import Adam
from .records import has_progress_bar

GRID = 18  # pictures in the grids, as in the notebook


def new_state(model, *, learning_rate, weight_decay, total_steps, precision=None):
    """Return the state of a run that has not begun: Adam, its rate annealed along one cosine over `total_steps`."""
    schedule = paddle.optimizer.lr.CosineAnnealingDecay(learning_rate, T_max=total_steps)
    optimizer = Adam(schedule, model.parameters(), l2=weight_decay)
    precision = precision or MixedPrecision()
    precision.convert(model, optimizer)
    return {
        "model": model,
        "network": parallel.average_gradients(model),
        "optimizer": optimizer,
        "schedule": schedule,
        "precision": precision,
        "epoch": 0,
        "step": 0,
        "best": {"top1": -1.0, "epoch": 0},  # any first epoch is better
    }


def fit(state, train_loader, val_loader, criterion, records, *, epochs, log_interval, prediction_interval, classes):
    """Train for `epochs`, validating after each; leave checkpoints, curves and records in the records' folder."""
    records.picture("augmented", plots.as_image(augmented_grid(train_loader, classes)), 0)
    for epoch in range(1, epochs + 1):
        train_one_epoch(state, train_loader, criterion, records, epochs=epochs, log_interval=log_interval)
        result = evaluate(state["model"], val_loader, criterion, len(classes), state["precision"])
        state["epoch"] = epoch
        rate = state["optimizer"].get_lr()
        records.point(Point(state["step"], epoch, "val", rate, result["loss"], result["top1"], result["ips"]))
        is_best = result["top1"] > state["best"]["top1"]
        if is_best:
            state["best"] = {"top1": result["top1"], "epoch": epoch}
            save(state, records.folder, "best")
        records.info(
            f"[Eval][Epoch {epoch}/{epochs}] lr: {rate:.3e}, loss: {result['loss']:.5f}, top1: {result['top1']:.5f}, "
            f"ips: {result['ips']:.1f} samples/s, best top1: {state['best']['top1']:.5f} "
            f"(epoch {state['best']['epoch']}{', new' if is_best else ''})"
        )
        records.curves()
        if epoch % prediction_interval == 0 or epoch == epochs:
            figure = predicted_grid(state["model"], val_loader, classes, state["precision"])
            records.picture("predictions", plots.as_image(figure), state["step"])
    save(state, records.folder, "final")


def train_one_epoch(state, loader, criterion, records, *, epochs, log_interval):
    """Train on every batch once; between two log points nothing is read back from the device."""
    epoch, steps = state["epoch"] + 1, len(loader)
    meter, clock = Meter(state["model"].num_classes), _Clock()
    loader.batch_sampler.set_epoch(state["epoch"])
    state["model"].train()
    bar = tqdm(loader, desc=f"epoch {epoch}/{epochs}", leave=False, disable=not has_progress_bar())
    for iteration, (images, labels) in enumerate(bar):
        clock.batch_is_here()
        rate = state["optimizer"].get_lr()
        loss, logits = train_step(state, images, labels, criterion)
        meter.update(loss, logits, labels)
        clock.step_is_done(len(labels) * parallel.size())
        if iteration % log_interval == 0 or iteration == steps - 1:
            read = meter.read()
            value, top1 = read["last_loss"], read["top1"]
            cost = clock.read()
            left = datetime.timedelta(seconds=int(cost["batch"] * ((epochs - epoch + 1) * steps - iteration - 1)))
            bar.set_postfix(loss=f"{value:.3f}", top1=f"{top1:.3f}", ips=f"{cost['ips']:.0f}", eta=str(left))
            records.point(Point(state["step"], epoch, "train", rate, value, top1, cost["ips"]))
            records.step(
                f"[Train][Epoch {epoch}/{epochs}][Iter: {iteration}/{steps}] lr: {rate:.3e}, loss: {value:.5f}, "
                f"top1: {top1:.5f}, batch_cost: {cost['batch']:.5f} s, reader_cost: {cost['reader']:.5f} s, "
                f"ips: {cost['ips']:.1f} samples/s, eta: {left}"
            )
            clock.restart()
        state["step"] += 1


def train_step(state, images, labels, criterion):
    """Move the weights by one batch; return its loss (a scalar) and logits [B, classes], still on the device."""
    precision, optimizer = state["precision"], state["optimizer"]
    with precision.autocast():
        logits = state["network"](images)
    loss = criterion(logits.astype("float32"), labels)
    precision.scaler.scale(loss).backward()
    precision.scaler.step(optimizer)
    precision.scaler.update()
    state["schedule"].step()
    optimizer.clear_grad()
    return loss, logits


def evaluate(model, loader, criterion, num_classes, precision=None):
    """Measure a model on all pictures of a loader.

    Returns:
        {"loss", "top1", "top5", "images", "ips"}: loss is a true mean over pictures, accuracies are fractions, ips is
        pictures a second with loading, the first batch (warm-up) left out where there are more.
    """
    precision = precision or MixedPrecision()
    model.eval()
    meter = Meter(num_classes)
    begin, counted_from = time.perf_counter(), 0
    with paddle.no_grad():
        bar = tqdm(loader, desc="validation", leave=False, disable=not has_progress_bar())
        for i, (images, labels) in enumerate(bar):
            with precision.autocast():
                logits = model(images).astype("float32")
            meter.update(criterion(logits, labels), logits, labels)
            if i == 0 and len(loader) > 1:
                meter.last_loss.item()  # waits for this device, and for no other process
                begin, counted_from = time.perf_counter(), meter.images
        result = meter.read()
    result["ips"] = (meter.images - counted_from) / (time.perf_counter() - begin) * parallel.size()
    return result


def save(state, folder, name):
    """Write weights as `<name>_model.pdparams`, the optimizer's and the scaler's state as `<name>_optimizer.pdopt`."""
    if folder is None:
        return  # another process of the run writes
    checkpoint.save(state["model"].state_dict(), folder / f"{name}_model.pdparams")
    optimizer = checkpoint.optimizer_state(state["optimizer"], state["model"])
    scaler = state["precision"].scaler.state_dict()
    checkpoint.save({**optimizer, **({"GradScaler": scaler} if scaler else {})}, folder / f"{name}_optimizer.pdopt")


def augmented_grid(loader, classes):
    """Draw the first training pictures as the first epoch augments them."""
    samples = [loader.dataset[0, i] for i in range(min(GRID, len(loader.dataset)))]
    images, labels = zip(*samples, strict=True)
    return plots.picture_grid(unnormalise(np.stack(images)), [classes[label] for label in labels])


def predicted_grid(model, loader, classes, precision):
    """Draw the first validation pictures with what the model takes them for."""
    samples = [loader.dataset[i] for i in range(min(GRID, len(loader.dataset)))]
    images, labels = (np.stack(part) for part in zip(*samples, strict=True))
    model.eval()
    with paddle.no_grad(), precision.autocast():
        predicted = model(paddle.to_tensor(images)).astype("float32").argmax(axis=-1).numpy()
    return plots.prediction_grid(unnormalise(images), predicted, labels, classes)


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
