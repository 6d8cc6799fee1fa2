"""Weights with what a run leaves beside them, made without a run."""

import paddle

from engine import filenames
from engine.config import build
from engine.config.load import load_config
from engine.output.folder import Output
from engine.weights import pdparams
from tests.support.device import DEVICE
from tests.support.runs import MICRO, SMALL


def write_run(folder, archive, *overrides):
    """Write random weights, as best and final ones, with config.yaml and environment.json; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = load_config(MICRO, [f"data.file={archive}", f"output_dir={folder}", *SMALL, *overrides])
    paddle.seed(1)
    state = build.build_model(config).state_dict()
    pdparams.save({folder / filenames.model(name): state for name in (filenames.BEST, filenames.FINAL)})
    Output(folder).describe(config, DEVICE, build.build_dataset(config), {})
    return folder
