import base64
import copy
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from engine.errors import UserError
from engine.notebooks import stored
from tests.support.errors import refuses


def png():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")


class Node(SimpleNamespace):
    """A dict that is read by attributes too, as nbformat's."""

    def __getitem__(self, key):
        return getattr(self, key)


def code(*outputs, tags=()):
    return Node(cell_type="code", metadata={"tags": list(tags)}, outputs=list(outputs))


def says(text, **data):
    return {"output_type": "display_data", "data": {"text/plain": text, **data}, "metadata": {}}


def test_a_stored_notebook_has_small_pictures_and_no_progress_bars():
    bar = says("epoch 1/6:   0%", **{"application/vnd.jupyter.widget-view+json": {"model_id": "1"}})
    notebook = Node(cells=[code(bar, says("<Image>", **{"image/png": png()}))], metadata={"language_info": "3.11"})
    stored.clean(notebook)
    (output,) = notebook.cells[0].outputs
    assert len(output["data"]["image/png"]) < len(png()) / 2
    picture = Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"])))
    assert picture.size == (64, 64)
    assert notebook.metadata == stored.METADATA


@pytest.mark.parametrize(("tags", "differ"), [((), 1), (("machine",), 0)])
def test_another_text_is_a_difference_but_in_cells_about_the_machine(tags, differ):
    before = Node(cells=[code(says("1"), tags=tags), Node(cell_type="markdown")])
    after = copy.deepcopy(before)
    assert stored.differences(before, after) == []
    after.cells[0].outputs[0]["data"]["text/plain"] = "2"
    assert len(stored.differences(before, after)) == differ


def test_a_picture_may_look_otherwise_but_must_be_there():
    before = Node(cells=[code(says("<Image>", **{"image/png": "a"}))])
    after = copy.deepcopy(before)
    after.cells[0].outputs[0]["data"]["image/png"] = "b"
    assert stored.differences(before, after) == []
    del after.cells[0].outputs[0]["data"]["image/png"]
    assert len(stored.differences(before, after)) == 1


@pytest.mark.parametrize("name", ["nbclient", "nbformat"])
def test_without_its_packages_the_line_says_what_to_install(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "nbclient", SimpleNamespace())
    monkeypatch.setitem(sys.modules, name, None)
    with refuses(UserError, key="nbclient") as caught:
        stored.run_and_store(stored.notebooks()[0])
    assert "requirements/notebook.txt" in str(caught.value)


def notebook(tmp_path, source):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    file = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), file)
    return file


@pytest.mark.slow
def test_a_notebook_runs_in_a_copy_without_data_and_runs(tmp_path):
    """And what a cell prints piece by piece is one output."""
    file = notebook(tmp_path, "import os\nprint(sorted(os.listdir('..')))\nprint(1, flush=True)\nprint(2)")
    stored.run_and_store(file)
    import nbformat

    (cell,) = nbformat.read(file, as_version=4).cells
    assert stored.texts(cell) == [f"{sorted(stored.NEEDED)}\n1\n2\n"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["raise ValueError", "import os\nos.getcwd()"], ids=["fails", "prints a path"])
def test_a_notebook_that_fails_or_knows_the_machine_is_not_stored(tmp_path, source):
    file = notebook(tmp_path, source)
    before = file.read_bytes()
    with refuses(UserError, key="cell", place=file):
        stored.run_and_store(file)
    assert file.read_bytes() == before
