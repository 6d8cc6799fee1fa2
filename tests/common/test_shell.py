import re
import shlex

import pytest

from common import shell

WORDS = [
    "python",
    "a b",
    "it's",
    "C:\\my runs\\x\\",
    "C:\\plain\\run",
    "x&y",
    "(x)",
    "$HOME",
    "`x`",
    "狗",
    "%x%",
    "a;b",
    "é",
    "“a” b",
    "Anna’s $1",
]


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(shell, "WINDOWS", True)


def test_a_posix_shell_reads_what_was_meant():
    assert shlex.split(shell.command(*WORDS)) == WORDS


def words_of_windows(line):
    """Split a line as PowerShell does with these words, and then as Microsoft's C runtime does."""
    words = []
    single, double = "['‘’‚‛]", '["“”„]'  # PowerShell makes no difference between straight and curly ones
    quoted = rf"{single}((?:[^'‘’‚‛]|{single}{{2}})*){single}|{double}([^\"“”„]*){double}|([^\s'‘’‚‛\"“”„]+)"
    for single, double, plain in re.findall(quoted, line):
        slashes = len(double) - len(double.rstrip("\\"))
        assert slashes % 2 == 0  # the last of an odd number would make the quote a letter
        words.append(re.sub("(['‘’‚‛])['‘’‚‛]", r"\1", single) or plain or double[: len(double) - slashes // 2])
    return words


def test_the_shells_of_windows_read_what_was_meant(windows):
    line = shell.command(*WORDS)
    assert words_of_windows(line) == WORDS
    for word in re.findall(r'"[^"]*"', line):  # PowerShell replaces these within double quotes
        assert "$" not in word
        assert "`" not in word


def test_plain_words_stay_as_they_are(windows):
    words = ["python", "train.py", "--resume", "output/tiny_cifar10", "C:\\runs\\a-b", "data.batch_size=32"]
    assert shell.command(*words) == " ".join(words)


def test_setting_up_needs_no_make_on_windows(windows):
    line = shell.set_up("C:\\my projects\\x")
    assert 'pushd "C:\\my projects\\x"' in line
    assert "make" not in line
    assert "&&" not in line  # unknown to PowerShell 5
