"""The table of checks, in the order in which they are made: what each claims, what it needs, and its bound."""

import itertools
from collections.abc import Iterator

from engine.check.check import Check

PEG = "regionvit_small_w14_peg_224"
ADAMW_WITH_EMA = ("optimizer.name=AdamW", "optimizer.weight_decay=0.05", "train.ema_decay=0.9")
FAST = "data.pipeline=fast"

# By 16-bit type, how far the loss of eight pictures may be from float32's. A CPU imitated it for Tiny, small_w14_peg
# and Micro, by rounding the inputs and results of products and convolutions, and those of sums, softmax and norms too:
# bfloat16 moved the loss by up to 5.9e-3, and float16, which has three bits more, by up to 8.8e-4. Five times as
# much passes.
SIXTEEN_BITS = {"bfloat16": 0.03, "float16": 0.0045}
LAST_BITS = 0  # arrays that differ


def _precision() -> Iterator[Check]:
    for level, (dtype, bound), variant in itertools.product(("O1", "O2"), SIXTEEN_BITS.items(), ("", PEG)):
        of_peg = ", PEG included" if variant else ""
        yield Check(
            f"{level}-{dtype}{'-peg' if variant else ''}".lower(),
            "precision",
            f"at {level} in {dtype} the loss is close to float32's and weights stay finite{of_peg}",
            bound,
            gpus=1,
            arguments={"level": level, "dtype": dtype, "variant": variant},
        )


def _resume() -> Iterator[Check]:
    runs: dict[str, tuple[str, int, dict]] = {
        "adam": ("Adam in float32, host pipeline", 0, {"overrides": ("data.num_workers=2",)}),
        "adamw": ("AdamW with EMA at O2, fast pipeline", 0, {"overrides": (*ADAMW_WITH_EMA, FAST), "level": "O2"}),
        "float16": ("Adam at O1 in float16", 1, {"overrides": (FAST,), "level": "O1", "dtype": "float16"}),
    }
    for name, (what, gpus, arguments) in runs.items():
        claim = f"a run that is killed and resumed ends in the bits of one that was not: {what}"
        yield Check(f"resume-{name}", "resume", claim, LAST_BITS, gpus, arguments)


def _speed() -> Iterator[Check]:
    """Rates have no bound: they are what the machine gives."""
    settings: dict[str, tuple[str, int, dict]] = {
        "speed": ("forward pass and training step in float32 without TF32", 0, {"allow_tf32": "never"}),
        "speed-tf32": ("the same with TF32", 1, {"allow_tf32": "always"}),
        "speed-o1": ("the same at O1", 1, {"allow_tf32": "always", "level": "O1"}),
        "speed-o2": ("the same at O2", 1, {"allow_tf32": "always", "level": "O2"}),
        "training-host": ("training end to end, host pipeline", 0, {"pipeline": "host"}),
        "training-fast": ("training end to end, fast pipeline", 0, {"pipeline": "fast"}),
    }
    for name, (claim, gpus, arguments) in settings.items():
        yield Check(name, "speed", claim, None, gpus, arguments)


CHECKS = (
    Check("machine", "machine", "a Paddle that was built for GPUs finds one, and its libraries", 0),
    # A sum of 512 products in float32 is off by about sqrt(512) roundings of 6e-8, 1.4e-6 of a typical result, in
    # whatever order it is added. TF32 rounds each factor to 5e-4 of it, which gives 1e-4 and more.
    Check("operators", "operators", "a product, a convolution and grid_sample are numpy's in float64", 1e-5),
    # Two implementations on CPUs differ by up to 3.2e-6, because they add in another order; logits go up to 2.9. A GPU
    # adds in a third order, and its exp and erf are off by two roundings instead of one: ten times as much is allowed.
    # TF32 would move logits by 6e-4 of the largest and more, 1e-3 here.
    Check("parity", "parity", "logits are the official implementation's, without TF32", 3e-5),
    *_precision(),
    *_resume(),
    # What differs are pixels that fall on a rounding's edge, one level each: a CPU's operators differ by 0.13. A wrong
    # coordinate, color or order of jitter gives 1 and more.
    Check("pipelines", "pipelines", "each picture once with its label, and the device's are paddle.vision's", 0.3),
    Check("recompute", "recompute", "recomputation gives the same bits, dropout and drop path included", LAST_BITS),
    # Both are float32 without TF32; Paddle Inference and onnxruntime fuse operators, which adds in another order. On a
    # CPU both differ by 1e-6; a factor of a hundred is left to other kernels, and the smallest fault is 1e-3.
    Check(
        "export-paddle", "export", "Paddle's export computes the model's logits", 1e-4, arguments={"format": "paddle"}
    ),
    Check("export-onnx", "export", "the ONNX export computes the model's logits", 1e-4, arguments={"format": "onnx"}),
    # Gradients are added in another order, and Adam turns a rounding of a small gradient into a step of the whole rate,
    # so losses drift apart. Two processes of a CPU differ by 1e-7, and by 0.2 if they do not average gradients.
    Check("two-gpus", "processes", "two GPUs, by NCCL, train as one with twice the batch", 1e-3, gpus=2),
    # The classes differ by color alone, which a linear model tells apart. On a CPU the loss falls to 0.46 of what it
    # was in Micro's 30 steps, and to 0.38 in 80 steps of Tiny at 64 x 64; without updates it stays.
    Check("learning", "learning", "a short training lowers the loss", 0.7),
    # Activations of products are half as large at O1, and most of a step's memory; recomputation keeps few of them.
    Check("memory", "memory", "peak memory at O1 and with recomputation is below float32's", 0.99, gpus=1),
    *_speed(),
)
