"""Train RegionViT as a config says."""

from engine.cli import Parser, run


def main():
    parser = Parser(__doc__, "python train.py -c configs/tiny_cifar10.yaml -o data.batch_size=32")
    parser.add_config(required=True)
    parser.add_argument("--overwrite", action="store_true", help="replace the run that the output folder holds")
    arguments = parser.parse_args()

    from engine import config
    from engine.run import train

    train(config.load(arguments.config, arguments.override), arguments.overwrite)


if __name__ == "__main__":
    run(main)
