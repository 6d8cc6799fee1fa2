import pytest

from engine.system import paths


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("output\\tiny", "output/tiny"),
        ("C:\\my runs\\tiny", "C:/my runs/tiny"),
        ("\\\\server\\share\\run", "//server/share/run"),
        ("\\\\?\\C:\\long\\path", "\\\\?\\C:\\long\\path"),
        ("a/b", "a/b"),
    ],
)
def test_paths_are_kept_so_that_every_system_reads_them(monkeypatch, path, kept):
    monkeypatch.setattr(paths, "WINDOWS", True)
    assert paths.portable(path) == kept
    assert paths.expand_user(path) == kept


def test_elsewhere_a_backslash_is_a_letter():
    assert paths.expand_user("a\\b") == "a\\b"


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_an_unknown_user_is_named_without_the_path(monkeypatch, separator):
    monkeypatch.setattr(paths, "WINDOWS", True)
    with pytest.raises(ValueError, match="no user 'nobody-here';"):
        paths.expand_user(f"~nobody-here{separator}x")
