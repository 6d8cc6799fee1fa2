"""Fonts of figures: matplotlib's own, and installed ones for the letters that it lacks."""

import unicodedata

import matplotlib
from matplotlib import font_manager

# Fonts of Linux, Windows and macOS with the letters of names in Chinese, Japanese and Korean.
CJK = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei", "PingFang HK")

_installed = font_manager.get_font_names()
matplotlib.rcParams["font.family"] = ["DejaVu Sans", *(name for name in CJK if name in _installed)]


def width(text: str) -> int:
    """Return the width of a text in letters. Chinese, Japanese and Korean ones count as two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def lacking(text: str) -> str:
    """Return the letters of a text that none of the fonts has, each once."""
    fonts = [
        font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=[name])))
        for name in matplotlib.rcParams["font.family"]
    ]
    letters = sorted({letter for letter in text if letter.isprintable()})
    return "".join(letter for letter in letters if not any(font.get_char_index(ord(letter)) for font in fonts))
