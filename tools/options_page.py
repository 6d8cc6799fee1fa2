"""Write the tables of docs/en/options.md from the schema of the config, engine/config/options.py."""

import itertools
from pathlib import Path

from engine.cli import Parser, run
from engine.config.load import flatten, load_config
from engine.config.options import options
from engine.errors import UserError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "en" / "options.md"
RECIPE = ROOT / "configs" / "tiny_cifar10.yaml"
MARK = "<!-- From here on this page is written by tools/options_page.py. -->"
HEADER = "| key | in the recipe | valid | may change on resume | what it does |\n|---|---|---|---|---|"


def main():
    Parser(__doc__, "python tools/options_page.py").parse_args()
    written_by_hand, mark, _ = PAGE.read_text().partition(MARK)
    if not mark:
        raise UserError(f"{PAGE} lacks the line {MARK}: put it where the tables begin", place=PAGE)
    PAGE.write_text(f"{written_by_hand}{MARK}\n\n{tables()}")


def tables():
    """Return a heading and a table for each section of the config, as Markdown."""
    sections = itertools.groupby(rows(), key=lambda row: row[0].strip("`").rpartition(".")[0])
    return "\n".join(
        f"## {f'`{section}`' if section else 'Top level'}\n\n{HEADER}\n{''.join(map(_line, found))}"
        for section, found in sections
    )


def rows():
    """Return the cells of each option's row, in the order of the schema."""
    recipe = flatten(load_config(RECIPE))
    return [
        (
            f"`{key}`",
            f"`{_as_in_yaml(recipe[key])}`",
            _valid(item),
            "yes" if item.metadata["free"] and key != "output_dir" else "",  # train.py refuses it with --resume
            item.metadata["help"],
        )
        for key, item in options().items()
    ]


def _line(cells):
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |")


def _as_in_yaml(value):
    if isinstance(value, bool):
        return str(value).lower()
    return '""' if value == "" else value


def _valid(item):
    """Return an option's valid values: its choices, or the interval of a number."""
    valid = item.metadata
    if item.type is bool:
        return "`true`, `false`"
    if valid["choices"]:
        return ", ".join(f"`{choice}`" for choice in valid["choices"])
    if item.type is str:
        return "text"
    low = f"({valid['above']}" if valid["above"] is not None else f"[{valid['low']}"
    high = f"{valid['high']}]" if valid["high"] is not None else f"{valid['below'] or '∞'})"
    return f"{'whole number' if item.type is int else 'number'} in `{low}, {high}`"


if __name__ == "__main__":
    run(main)
