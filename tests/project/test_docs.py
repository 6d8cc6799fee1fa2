"""Every page says the same in English and in Chinese, section by section, in all that no translation changes.

When one of the two changes, these tests name the section of the other that has to follow. Words are free, numbers are
not: a numeral in one is a numeral in the other, and what one spells out ("two cores") the other spells out ("双核").
"""

import difflib
import re
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import pytest

from engine.config.load import load_config
from tools import options_page

ROOT = Path(__file__).parents[2]
PAGES = [str(file.relative_to(ROOT)) for file in sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/*/*.md")])]
TWINS = {"README.md": "README_cn.md", **{page: page.replace("/en/", "/zh/") for page in PAGES if "/en/" in page}}
PAIRS = {english: chinese for english, chinese in TWINS.items() if chinese in PAGES}
CHINESE = [page for page in PAGES if page not in TWINS]
# Made by readers who follow docs/en/design.md.
MADE_BY_READERS = {
    "configs/nano_cifar10.yaml",
    "configs/micro_cifar20.yaml",
    "data/grayscale.py",
    "tools/get_cifar20.py",
}
ENGLISH_OF = {chinese: english for english, chinese in PAIRS.items()}

HEADING = re.compile(r"(#+) (.+)")
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(?:^|\s+)# (.*)")
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\[([^]]*)\]\(([^)\s]+)\)")
PICTURE = re.compile(r'<img src="([^"]+)" width="([^"]+)" alt="([^"]+)">')
LISTED = re.compile(r"(?:-|[0-9]+\.) ")
NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*(?:e-?[0-9]+)?")


def blocks(page):
    """A page's blocks as lists of lines: what blank lines part, and code between its fences."""
    parts = re.split(rf"({FENCED.pattern})", (ROOT / page).read_text(encoding="utf-8"), flags=FENCED.flags)
    return [part.splitlines() for i, text in enumerate(parts) for part in ([text] if i % 2 else text.split("\n\n"))]


def sections(page):
    """[(heading, its blocks)] of a page, the heading being the first block."""
    found = []
    for block in blocks(page):
        block = [line for line in block if line.strip()]
        if block and HEADING.match(block[0]):
            found.append((block[0], []))
        if block:
            found[-1][1].append(block)
    return found


def is_code(block):
    return block[0].lstrip().startswith("```")


def cells(row):
    return re.split(r"(?<!\\)\|", row)[1:-1]


def shape(block):
    """What a block is, with its size where the languages have it in common."""
    first = block[0]
    if is_code(block):
        return f"code: {first.lstrip()[3:]}"
    if first.startswith("|"):
        columns = sorted({len(cells(row)) for row in block})
        return f"table: {len(block) - 2} rows, {' or '.join(map(str, columns))} columns"
    if LISTED.match(first):
        return f"list: {sum(bool(LISTED.match(line)) for line in block)} items"
    return "heading" if HEADING.match(first) else "pictures" if first.startswith("<") else "paragraph"


def prose(section):
    """A section's text without its commands, whose comments stay."""
    lines = [COMMENT.findall(line) if is_code(block) else [line] for block in section for line in block]
    return "\n".join(text for line in lines for text in line)


def commands(section):
    """The lines of a section's code, a comment reduced to its mark."""
    return [COMMENT.sub(" #", line).rstrip() for block in section if is_code(block) for line in block]


def found(section, find):
    """What `find` gets from a section's text, sorted, as word order is free, and from its tables, cell by cell."""
    lines = prose(section).splitlines()
    text = "\n".join(line for line in lines if not line.startswith("|"))
    rows = [[" ".join(sorted(find(cell))) for cell in cells(line)] for line in lines if line.startswith("|")]
    return sorted(find(text)) + [" | ".join(row) for row in rows if any(row)]


def code(text):
    """What a text sets as code; what stands for something, as in `<name>`, has a name in each language."""
    return [re.sub(r"<.*?>", "<>", " ".join(span.split())) for span in CODE.findall(text)]


def numbers(text):
    """Every numeral of a text, of those in names (CIFAR-10) and alternative texts of pictures too."""
    return NUMBER.findall(PICTURE.sub(r"\3", LINK.sub(r"\1", CODE.sub("", text))))


def pictures(section):
    """The pictures of a section; one with words in it has a Chinese twin, whose name ends in _zh."""
    return [f"{source.replace('_zh.', '.')}, {width} wide" for source, width, _ in PICTURE.findall(prose(section))]


def slugs(page):
    """GitHub's anchors of a page's headings: no punctuation, lower case, hyphens for spaces, repeats counted."""
    found, times = [], Counter()
    for heading, _ in sections(page):
        slug = re.sub(r"[^\w\- ]", "", LINK.sub(r"\1", HEADING.match(heading)[2])).lower().replace(" ", "-")
        found.append(f"{slug}-{times[slug]}" if times[slug] else slug)
        times[slug] += 1
    return found


def resolved(page, target):
    """A link's target as a page or file, relative to the root, and an anchor, which may be empty."""
    file, _, anchor = target.partition("#")
    path = ((ROOT / page).parent / file).resolve() if file else ROOT / page
    return str(path.relative_to(ROOT)), anchor


def links(page, section):
    """The targets of a section's links: of a page the English one, of a heading the English one's number."""
    found = []
    for _, target in LINK.findall(prose(section)):
        if not target.startswith("https://"):
            file, anchor = resolved(page, target)
            if anchor and anchor in slugs(file):
                anchor = f"heading {slugs(file).index(anchor) + 1}"
            is_switch = ENGLISH_OF.get(file, file) == ENGLISH_OF.get(page, page) and file != page
            target = "the other language" if is_switch else f"{ENGLISH_OF.get(file, file)}#{anchor}"
        found.append(target)
    return sorted(found)


ITEMS = {
    "paragraphs, lists and tables": lambda page, section: [shape(block) for block in section],
    "commands": lambda page, section: commands(section),
    "code in the text": lambda page, section: found(section, code),
    "numbers": lambda page, section: found(section, numbers),
    "pictures": lambda page, section: pictures(section),
    "links": links,
}


def test_every_page_has_its_twin():
    assert sorted(CHINESE) == sorted(TWINS.values())


@pytest.mark.parametrize("page", PAIRS)
def test_both_languages_have_the_same_headings(page):
    english, chinese = ([heading for heading, _ in sections(name)] for name in (page, PAIRS[page]))
    for a, b in zip_longest(english, chinese, fillvalue="nothing"):
        assert a.split()[0] == b.split()[0], f"from here on the headings differ: {page} has {a}, {PAIRS[page]} has {b}"


@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("page", PAIRS)
def test_both_languages_have_the_same(page, item):
    test_both_languages_have_the_same_headings(page)
    differences, side = [], {"-": page, "+": PAIRS[page]}
    for (a, english), (b, chinese) in zip(sections(page), sections(PAIRS[page]), strict=True):
        lines = difflib.ndiff(ITEMS[item](page, english), ITEMS[item](PAIRS[page], chinese))
        only = [f"    only in {side[line[0]]}: {line[2:]}" for line in lines if line[0] in side]
        differences += [f"{a} | {b}", *only] if only else []
    if differences:
        pytest.fail("\n".join([f"the {item} differ:", *differences]), pytrace=False)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for _, section in sections(page):
        sources = [source for source, _, _ in PICTURE.findall(prose(section))]
        for target in [target for _, target in LINK.findall(prose(section))] + sources:
            if target.startswith("https://"):
                continue
            file, anchor = resolved(page, target)
            assert (ROOT / file).exists(), target
            assert not anchor or anchor in slugs(file), target


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_the_pictures_of_its_language(page):
    for source, _, _ in (found for _, section in sections(page) for found in PICTURE.findall(prose(section))):
        file, chinese = ((ROOT / page).parent / name for name in (source, source.replace(".png", "_zh.png")))
        assert "_zh." not in file.name if page in TWINS else not chinese.exists(), source


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    """Paths below the project's folders, configs and tests; what runs make (`output/`, `datasets/`) is free."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(
        re.findall(
            r"\b(?:common|configs|data|docs|engine|integrations|models|requirements|tests|tools)/[\w./-]*\w", text
        )
    )
    named |= {f"configs/{name}" for name in re.findall(r"(?<![\w/>])\w+_\w+\.yaml\b", text)}
    for name in named - MADE_BY_READERS:
        assert (ROOT / name).exists(), name
    for name in set(re.findall(r"`(test_\w+\.py)`", text)):
        assert list((ROOT / "tests").rglob(name)), name


@pytest.mark.parametrize("page", CHINESE)
def test_chinese_paragraphs_are_not_wrapped(page):
    """Browsers show the end of a line as a space, which Chinese does not have."""
    for _, section in sections(page):
        for block in section:
            if shape(block) == "paragraph":
                assert len(block) == 1, block[0]
            elif shape(block).startswith("list"):
                assert all(LISTED.match(line) for line in block), block


@pytest.mark.parametrize("page", ["README.md", "README_cn.md"])
def test_the_first_screen_can_be_pasted_after_the_demo(page):
    """Its commands use files that are there by then, and train only what a CPU finishes."""
    block = re.search(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)[1]
    lines = [line.partition("#")[0].strip() for line in block.splitlines() if not line.startswith("#")]
    assert lines[:2] == ["make demo", ". .venv/bin/activate"]
    assert "VENV ?= .venv\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    configs = [load_config(ROOT / name) for line in lines for name in re.findall(r"-c (\S+)", line)]
    assert [config.model.name for config in configs] == ["regionvit_micro_conv_32"]
    demo = load_config(ROOT / "configs/digits_demo.yaml").output_dir
    assert re.findall(r"--weights (\S+)", block) == [f"{demo}/best_model.pdparams"]
    assert all((ROOT / name).exists() for name in re.findall(r"python (\S+)", block))


@pytest.mark.parametrize("page", [options_page.ENGLISH, options_page.CHINESE], ids=["english", "chinese"])
def test_the_options_page_is_what_the_schema_says(page):
    """After a change of the schema run `python tools/options_page.py`; it names what is left to translate."""
    written_by_tool = page.file.read_text(encoding="utf-8").partition(page.mark)[2]
    assert written_by_tool.strip() == options_page.tables(page).strip()


def test_the_chinese_options_page_says_what_each_option_does():
    assert options_page.untranslated() == []
    assert all(options_page.translations().values())
