"""Classify pictures with an export for Paddle in Paddle Inference."""

import classify
from paddle import inference

PROGRAMS = ("inference.json", "inference.pdmodel")  # as Paddle 3 and Paddle 2.6 write it


def load(folder):
    """Return the program in a folder as a function: pictures, names of input and output -> logits."""
    program = next((folder / name for name in PROGRAMS if (folder / name).exists()), folder / PROGRAMS[0])
    config = inference.Config(str(program), str(folder / "inference.pdiparams"))
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
