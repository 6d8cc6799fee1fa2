"""Measure saved weights: accuracy, loss, pictures a second, and a grid of predictions."""

from engine.cli import Parser, run


def main():
    parser = Parser(__doc__, "python eval.py --weights best_model.pdparams")
    parser.add_weights()
    parser.add_config()
    parser.add_argument("--output", metavar="DIR", help="where eval.json and predictions.png go; default: beside FILE")
    arguments = parser.parse_args()

    from engine.evaluation import evaluate_weights
    from engine.trained import find

    weights, config, note = find(arguments.weights, arguments.config, arguments.override)
    if note:
        print(note)
    output = arguments.output or weights.parent
    report = evaluate_weights(weights, config, output)
    print(f"{report['images']} pictures ({report['split']}) on {report['device']}")
    print(f"top1: {report['top1']:.5f}, top5: {report['top5']:.5f}, loss: {report['loss']:.5f}")
    print(
        f"ips: {report['images_per_second']:.1f} samples/s with loading, "
        f"{report['model_images_per_second']:.1f} samples/s the model alone"
    )
    print(f"written: {output}/eval.json, {output}/predictions.png")


if __name__ == "__main__":
    run(main)
