"""README.md and README_cn.md say the same, section by section, in all that no translation changes.

Where one of them is changed, these tests name the section of the other that has to follow. Words are free, figures are
not: a numeral in one is a numeral in the other, and what one spells out ("two cores") so does the other ("双核").
"""

import difflib
import re
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READMES = ENGLISH, CHINESE = "README.md", "README_cn.md"
PAGES = [*READMES, *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]

HEADING = re.compile(r"(#+) (.+)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(?:^|\s+)# (.*)")
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\[([^]]*)\]\(([^)\s]+)\)")
PICTURE = re.compile(r'<img src="([^"]+)" width="([^"]+)" alt="([^"]+)">')
LISTED = re.compile(r"(?:-|[0-9]+\.) ")
NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*(?:e-?[0-9]+)?")


def blocks(page):
    """A page's blocks as lists of lines: what blank lines part, and code between its fences."""
    parts = re.split(rf"({FENCED.pattern})", (ROOT / page).read_text(), flags=FENCED.flags)
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
    return block[0].startswith("```")


def cells(row):
    return re.split(r"(?<!\\)\|", row)[1:-1]


def shape(block):
    """What a block is, with its size where the languages have it in common."""
    first = block[0]
    if is_code(block):
        return f"code: {first[3:]}"
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
    return [f"{source}, {width} wide" for source, width, _ in PICTURE.findall(prose(section))]


def slugs(page):
    """GitHub's anchors of a page's headings: no punctuation, lower case, hyphens for spaces, repeats counted."""
    found, times = [], Counter()
    for heading, _ in sections(page):
        slug = re.sub(r"[^\w\- ]", "", LINK.sub(r"\1", HEADING.match(heading)[2])).lower().replace(" ", "-")
        found.append(f"{slug}-{times[slug]}" if times[slug] else slug)
        times[slug] += 1
    return found


def links(page, section):
    """The targets of a section's links; a heading goes by its English text, the two pages by one name."""
    names = dict.fromkeys(READMES, "the other language")
    for slug, (heading, _) in zip(slugs(page), sections(ENGLISH), strict=True):
        names[f"#{slug}"] = heading
    return sorted(names.get(target, target) for _, target in LINK.findall(prose(section)))


ITEMS = {
    "paragraphs, lists and tables": lambda page, section: [shape(block) for block in section],
    "commands": lambda page, section: commands(section),
    "code in the text": lambda page, section: found(section, code),
    "numbers": lambda page, section: found(section, numbers),
    "pictures": lambda page, section: pictures(section),
    "links": links,
}


def test_both_readmes_have_the_same_headings():
    english, chinese = ([heading for heading, _ in sections(page)] for page in READMES)
    for a, b in zip_longest(english, chinese, fillvalue="nothing"):
        assert a.split()[0] == b.split()[0], f"from here on the headings part: {ENGLISH} has {a}, {CHINESE} has {b}"


@pytest.mark.parametrize("item", ITEMS)
def test_both_readmes_have_the_same(item):
    test_both_readmes_have_the_same_headings()
    differences = []
    side = {"-": ENGLISH, "+": CHINESE}
    for (a, english), (b, chinese) in zip(sections(ENGLISH), sections(CHINESE), strict=True):
        lines = difflib.ndiff(ITEMS[item](ENGLISH, english), ITEMS[item](CHINESE, chinese))
        only = [f"    only in {side[line[0]]}: {line[2:]}" for line in lines if line[0] in side]
        differences += [f"{a} | {b}", *only] if only else []
    if differences:
        pytest.fail("\n".join([f"the {item} differ:", *differences]), pytrace=False)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for _, section in sections(page):
        for _, target in LINK.findall(prose(section)):
            if target.startswith("https://"):
                continue
            file, _, anchor = target.partition("#")
            file = (ROOT / page).parent / file if file else ROOT / page
            assert file.exists(), target
            assert not anchor or anchor in slugs(file.relative_to(ROOT)), target


def test_chinese_paragraphs_are_not_wrapped():
    """Browsers show the end of a line as a space, which Chinese does not have."""
    for _, section in sections(CHINESE):
        for block in section:
            if shape(block) == "paragraph":
                assert len(block) == 1, block[0]
            elif shape(block).startswith("list"):
                assert all(LISTED.match(line) for line in block), block
