"""Evaluate saved weights: accuracy, loss, calibration, pictures per second, and a grid of predictions."""

from pathlib import Path

from engine.cli import Parser, run


def main() -> None:
    parser = Parser(__doc__, "python eval.py --weights best_model.pdparams")
    parser.add_weights(exports=True)
    parser.add_config()
    parser.add_argument("--output", metavar="DIR", help="where the results go; default: beside FILE")
    parser.add_argument(
        "--report",
        action="store_true",
        help="also write report.html: curves, each class, confusion matrix, reliability diagram, mistakes, provenance",
    )
    parser.add_argument(
        "--flip",
        action="store_true",
        help="average each picture's probabilities with those of its mirror image, at twice the cost",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="first fit a temperature to the training pictures that the run held out (data.holdout), and note it "
        "beside FILE, for everything that uses these weights",
    )
    arguments = parser.parse_args()

    from common.words import counted
    from engine.evaluation.calibrate import calibrate
    from engine.evaluation.saved import evaluate_weights
    from engine.inference.trained import find
    from engine.system import processes

    weights, config, note = find(arguments.weights, arguments.config, arguments.override)
    if note and processes.rank() == 0:
        print(note)
    if arguments.calibrate:
        fitted = calibrate(weights, config)
        if processes.rank() == 0:
            print(fitted)
    output = arguments.output or weights.parent
    measured = evaluate_weights(weights, config, output, arguments.report, arguments.flip)
    if measured is None:  # another process writes and prints
        return
    views = ", each averaged with its mirror image" * measured["flip"]
    print(
        f"{counted(measured['images'], 'picture')} ({measured['split']}){views} on {measured['device']} "
        f"by {measured['runtime']}"
    )
    top5 = "" if measured["top5"] is None else f"top5: {measured['top5']:.5f}, "
    smoothing = f" with label smoothing {measured['label_smoothing']:g}" if measured["label_smoothing"] else ""
    low, high = measured["top1_interval"]
    print(
        f"top1: {measured['top1']:.5f} (95 %: {low:.5f} to {high:.5f}), {top5}loss{smoothing}: {measured['loss']:.5f}, "
        f"cross entropy: {measured['cross_entropy']:.5f}, ece: {measured['ece']:.5f}"
    )
    if measured["about_temperature"]:
        print(measured["about_temperature"])
    if after := measured["calibrated"]:
        accuracy = "the same top1" if after["top1"] == measured["top1"] else f"top1 {after['top1']:.5f}"
        print(f"with it: {accuracy}, cross entropy: {after['cross_entropy']:.5f}, ece: {after['ece']:.5f}")
    print(
        f"ips: {measured['images_per_second']:.1f} samples/s with loading, "
        f"{measured['model_images_per_second']:.1f} samples/s the model alone"
    )
    names = ("eval.json", "outputs.npz", "predictions.png", *["report.html"] * arguments.report)
    print("written:", ", ".join(str(Path(output) / name) for name in names))


if __name__ == "__main__":
    run(main, several=True)
