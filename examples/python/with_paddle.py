"""Classify pictures with an export for Paddle in Paddle Inference."""

import classify
import paddle
from paddle import inference

WRITTEN_BY_2, WRITTEN_BY_3 = "inference.pdmodel", "inference.json"
READABLE = [WRITTEN_BY_2] if paddle.__version__.startswith("2.") else [WRITTEN_BY_2, WRITTEN_BY_3]


def load(folder):
    """Return the program in a folder as a function: pictures, names of input and output -> logits."""
    programs = [folder / name for name in READABLE if (folder / name).exists()]
    if not programs:  # Paddle 2 would crash on a program of Paddle 3
        raise FileNotFoundError(f"no {' or '.join(READABLE)}, and Paddle {paddle.__version__} reads nothing else")
    config = inference.Config(str(programs[0]), str(folder / "inference.pdiparams"))
    config.disable_mkldnn()  # oneDNN's fusing of transposes and reshapes fails on this model
    config.disable_glog_info()
    config.delete_pass("seqpool_cvm_concat_fuse_pass")  # crashes on Paddle 2.6.2
    predictor = inference.create_predictor(config)

    def run(images, source, result):
        predictor.get_input_handle(source).copy_from_cpu(images)
        predictor.run()
        return predictor.get_output_handle(result).copy_to_cpu()

    return run


if __name__ == "__main__":
    classify.main("paddle", load)
