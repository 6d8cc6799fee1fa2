"""The official implementation through torch.compile, for `tools/benchmark.py --against`.

It compiles in the warm-up, which takes minutes on a CPU and needs a C++ compiler.
"""

import official
import torch


def build(variant, num_classes):
    return torch.compile(official.build(variant, num_classes))
