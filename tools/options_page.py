"""Write the tables of options.md in docs/en and docs/zh from the schema of the config, engine/config/options.py.

What an option does is translated by hand: the Chinese page keeps that column, and a new option has the English words
there until someone translates them.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import _environment  # noqa: F401

from engine.cli import Parser, run
from engine.errors import UserError

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "configs" / "tiny_cifar10.yaml"
RULE = "|---|---|---|---|---|"


@dataclass(frozen=True)
class Page:
    """The page of a language: the line above its tables, and the words in them."""

    file: Path
    mark: str
    top: str
    header: str
    yes: str
    text: str
    whole: str  # number
    number: str
    interval: str
    comma: str


ENGLISH = Page(
    file=ROOT / "docs" / "en" / "options.md",
    mark="<!-- From here on this page is written by tools/options_page.py. -->",
    top="Top level",
    header="| key | in the recipe | valid | may change on resume | what it does |",
    yes="yes",
    text="text",
    whole="whole number",
    number="number",
    interval="{kind} in {interval}",
    comma=", ",
)
CHINESE = Page(
    file=ROOT / "docs" / "zh" / "options.md",
    mark="<!-- 从这里起，除最后一列以外，本页由 tools/options_page.py 写出。 -->",
    top="顶层",
    header="| 键 | 配方中的值 | 有效取值 | 续训时可改 | 作用 |",
    yes="是",
    text="文本",
    whole="整数",
    number="数",
    interval="{kind}，{interval}",
    comma="、",
)


def main():
    Parser(__doc__, "python tools/options_page.py").parse_args()
    for page in (ENGLISH, CHINESE):
        written_by_hand, mark, _ = page.file.read_text(encoding="utf-8").partition(page.mark)
        if not mark:
            raise UserError(f"{page.file} lacks the line {page.mark}: put it where the tables begin", place=page.file)
        page.file.write_text(f"{written_by_hand}{mark}\n\n{tables(page)}", encoding="utf-8", newline="\n")
    for key in untranslated():
        print(f"{CHINESE.file.relative_to(ROOT)}: to be translated: {key}")


def tables(page):
    """Return a heading and a table for each section of the config, as Markdown."""
    sections = itertools.groupby(rows(page), key=lambda row: row[0].strip("`").rpartition(".")[0])
    return "\n".join(
        f"## {f'`{section}`' if section else page.top}\n\n{page.header}\n{RULE}\n{''.join(map(_line, found))}"
        for section, found in sections
    )


def rows(page):
    """Return the cells of each option's row, in the order of the schema."""
    from engine.config.load import flatten, load_config
    from engine.config.options import options

    recipe, translated = flatten(load_config(RECIPE)), {} if page is ENGLISH else translations()
    return [
        (
            f"`{key}`",
            f"`{_as_in_yaml(recipe[key])}`",
            _valid(item, page),
            page.yes if item.metadata["free"] and key != "output_dir" else "",  # train.py refuses it with --resume
            translated.get(key, item.metadata["help"]),
        )
        for key, item in options().items()
    ]


def translations():
    """Return what each option does, as the Chinese page has it: {key: text}."""
    lines = CHINESE.file.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[-1] for row in cells}


def untranslated():
    """Return the keys whose row in the Chinese page is missing or has the English words."""
    from engine.config.options import options

    translated = translations()
    return [key for key, item in options().items() if translated.get(key) in (None, item.metadata["help"])]


def _line(cells):
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |")


def _as_in_yaml(value):
    if isinstance(value, bool):
        return str(value).lower()
    return '""' if value == "" else value


def _valid(item, page):
    """Return an option's valid values: its choices, or the interval of a number."""
    valid = item.metadata
    if item.type is bool:
        return page.comma.join(["`true`", "`false`"])
    if valid["choices"]:
        return page.comma.join(f"`{choice}`" for choice in valid["choices"])
    if item.type is str:
        return page.text
    low = f"({valid['above']}" if valid["above"] is not None else f"[{valid['low']}"
    high = f"{valid['high']}]" if valid["high"] is not None else f"{valid['below'] or '∞'})"
    return page.interval.format(kind=page.whole if item.type is int else page.number, interval=f"`{low}, {high}`")


if __name__ == "__main__":
    run(main)
