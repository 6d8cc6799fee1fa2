"""The folder of an export for the web; what its page does in a browser: tests/examples/test_browser.py."""

import json
import os
import re
import stat
from pathlib import Path

import pytest

from common.windows import WINDOWS
from engine import filenames
from engine.errors import UserError
from engine.inference import program, web
from engine.system import atomic
from tests.support.errors import one_line_about, refuses
from tests.support.scripts import tool


@pytest.fixture(autouse=True)
def made(monkeypatch, tmp_path):
    """An export to ONNX takes no time, needs no package, and counts how often it was made."""
    times = []

    def export(weights, config, format, output, precision, most_lost):
        times.append(format)
        Path(output).mkdir()
        (Path(output) / filenames.CONFIG).write_text("model", encoding="utf-8")
        (Path(output) / filenames.EXPORTED_WEIGHTS["onnx"]).write_bytes(b"program")
        description = {
            **{"format": "onnx", "precision": precision, "model": "regionvit", "padding_mask": "exact"},
            **{"input": {"shape": [None, 3, 32, 32]}, "side": 32, "image_size": 32, "classes": None},
            "files": {file.name: atomic.sha256sum(file) for file in Path(output).iterdir()},
        }
        (Path(output) / filenames.DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
        return [], ["compared"]

    for name in web.LICENSES:
        (tmp_path / name).write_text(name, encoding="utf-8")
    monkeypatch.setattr(web.exports, "export", export)
    monkeypatch.setattr(web.program, "check_installed", lambda *_: None)
    monkeypatch.setattr(web, "_licenses", lambda: [tmp_path / name for name in web.LICENSES])
    return times


@pytest.fixture
def package(tmp_path):
    """An unpacked npm package of onnxruntime-web, as far as an export reads it."""
    folder = tmp_path / "package"
    (folder / "dist").mkdir(parents=True)
    for name in web.DIST:
        (folder / name).write_text(name, encoding="utf-8")
    (folder / web.ABOUT).write_text('{"name": "onnxruntime-web", "version": "1.2.3"}', encoding="utf-8")
    return folder


def export(output, package=None, precision="float32"):
    return web.export("best_model.pdparams", None, output, precision, package=package)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_web_export_lists_its_files_and_is_read_like_one_to_onnx(tmp_path, package):
    files, lines = export(tmp_path / "web", package)
    folder = tmp_path / "web"
    assert sorted(files) == sorted(folder.iterdir())
    description = program.describe(program.weights_in(folder))
    assert program.weights_in(folder) == folder / "inference.onnx"
    assert (description["format"], description["onnxruntime_web"]) == ("web", "1.2.3")
    assert set(description["files"]) == {file.name for file in files} - {filenames.DESCRIPTION}
    assert lines[0] == "compared"
    assert (folder / "onnxruntime-LICENSE").read_text(encoding="utf-8") == "LICENSE"


def test_the_page_names_only_files_that_are_beside_it(tmp_path, package):
    export(tmp_path / "web", package)
    named = set()
    for name in ("index.html", "page.css", "page.mjs", "steps.mjs"):
        text = (tmp_path / "web" / name).read_text(encoding="utf-8")
        named |= set(re.findall(r'(?:src|href|from|import\(|fetched\(|url\()[= ]?"([^"]+)"', text))
        assert "://" not in text
    assert named == {
        *("data:,", "page.css", "page.mjs", "./steps.mjs"),
        *("preprocessing.json", "./ort.wasm.bundle.min.mjs", "inference.onnx"),
    }
    assert all((tmp_path / "web" / name).is_file() for name in named - {"data:,"})


def test_a_web_export_is_replaced_by_the_next_and_nothing_else_is(tmp_path, package):
    folder = tmp_path / "web"
    export(folder, package)
    (folder / "mine.html").write_text("mine", encoding="utf-8")
    (package / web.DIST[1]).write_text("newer", encoding="utf-8")
    before = set(contents(folder))
    export(folder, package)
    assert set(contents(folder)) == before
    assert (folder / Path(web.DIST[1]).name).read_text(encoding="utf-8") == "newer"
    program.describe(program.weights_in(folder))


@pytest.mark.parametrize("name", ["index.html", "ort-wasm-simd-threaded.wasm", "inference.onnx"])
def test_another_page_is_not_replaced(tmp_path, package, made, name):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / name).write_text("mine", encoding="utf-8")
    with refuses(UserError, key="--output", value=name, place=tmp_path / "web"):
        export(tmp_path / "web", package)
    assert contents(tmp_path / "web") == {name: b"mine"}
    assert made == []


def test_a_web_export_is_not_replaced_by_another_kind(tmp_path, package):
    export(tmp_path / "web", package)
    with refuses(UserError, key="--output", value="float32", place=tmp_path / "web"):
        export(tmp_path / "web", package, "int8")


@pytest.mark.parametrize("spoil", ["no folder", "no program", "another package", "no JSON", "no version"])
def test_what_is_not_the_package_is_refused_before_anything_is_made(tmp_path, package, made, spoil):
    texts = {"another package": '{"name": "onnxruntime-node", "version": "1"}', "no JSON": "{", "no version": "[]"}
    if spoil in texts:
        (package / web.ABOUT).write_text(texts[spoil], encoding="utf-8")
    elif spoil == "no program":
        (package / web.DIST[1]).unlink()
    else:
        package = tmp_path / "none"
    with refuses(UserError, key="--onnxruntime-web", value=str(package), place=package):
        export(tmp_path / "web", package)
    assert made == []


def test_without_npm_the_way_out_is_named(tmp_path, monkeypatch, made):
    monkeypatch.setenv("PATH", str(tmp_path))
    with refuses(UserError, key="npm") as caught:
        export(tmp_path / "web")
    assert "--onnxruntime-web" in str(caught.value)
    assert made == []


@pytest.mark.skipif(WINDOWS, reason="a script in the place of npm")
def test_what_npm_complains_about_is_named_with_the_way_out(tmp_path, monkeypatch, made):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho npm warn old >&2\necho npm error code ENOTFOUND >&2\nexit 1\n", encoding="utf-8")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with refuses(UserError, key="npm") as caught:
        export(tmp_path / "web")
    assert "ENOTFOUND" in str(caught.value)
    assert "--onnxruntime-web" in str(caught.value)
    assert made == []


def test_the_package_is_for_the_web_alone(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "export.py", "--weights", "w", "--format", "onnx", "--onnxruntime-web", tmp_path)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "--onnxruntime-web")
