"""Executing notebooks as a reader would in a fresh clone, and storing them small, with what any machine shows."""

import base64
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from common.windows import WINDOWS
from engine.errors import UserError
from engine.system import atomic
from engine.system.environment import PROJECT

FOLDER = PROJECT / "notebooks"
NEEDED = ("common", "configs", "data", "engine", "models", "notebooks", "requirements")  # by a notebook
MACHINE = "machine"  # the tag of a cell whose text depends on the machine: times, versions, trained accuracy
TIMEOUT = 1800  # seconds for one cell
COLOURS = 64  # of a stored picture
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebooks() -> list[Path]:
    """Return the project's notebooks."""
    return sorted(FOLDER.glob("*.ipynb"))


def run_and_store(file: Path) -> None:
    """Execute a notebook and store it with its new outputs, in place.

    Raises:
        UserError: it cannot be read or executed; the stored one stays.
    """
    executed = execute(file)
    import nbformat

    atomic.replace_text(file, nbformat.writes(executed).rstrip("\n") + "\n")


def execute(file: Path) -> Any:
    """Return a notebook executed in a copy of the project without data, runs and GPU, and cleaned.

    Raises:
        UserError: packages are missing, it cannot be read, or a cell failed.
    """
    try:
        import nbclient
        import nbformat
    except ModuleNotFoundError as error:
        raise UserError(
            f"no module {error.name}: pip install -r requirements/notebook.txt", key="nbclient", value=error.name
        ) from error
    try:
        notebook = nbformat.read(file, as_version=4)
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not a notebook ({error})", place=file) from error
    with tempfile.TemporaryDirectory() as folder:
        for name in NEEDED:
            shutil.copytree(
                PROJECT / name, Path(folder) / "project" / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        client = nbclient.NotebookClient(
            notebook,
            timeout=TIMEOUT,
            startup_timeout=TIMEOUT,
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
        )
        client.km = client.create_kernel_manager()
        if not WINDOWS:  # no ports, and no warning about them; a path of its own, as the default is relative
            client.km.transport, client.km.ip = "ipc", f"{folder}/kernel"
        try:
            client.execute(cwd=str(Path(folder) / "project" / "notebooks"), env=_environment())
        except nbclient.exceptions.CellExecutionError as error:
            line = " ".join(f"{file}: cell {_last(notebook)}: {error.ename}: {error.evalue}".split())
            raise UserError(line, key="cell", place=file) from error
        except (nbclient.exceptions.DeadKernelError, nbclient.exceptions.CellTimeoutError) as error:
            line = f"{file}: its kernel was stopped, died, or took more than {TIMEOUT} s for one cell"
            raise UserError(line, key="kernel", place=file) from error
        clean(notebook)
        if folder in nbformat.writes(notebook):
            raise UserError(f"{file}: a cell printed a path of this machine, {folder}", key="cell", place=file)
    return notebook


def _last(notebook: Any) -> str:
    """Return the name of the last cell that was executed."""
    return [cell.id for cell in notebook.cells if cell.get("execution_count")][-1]


def _environment() -> dict[str, str]:
    """Return the kernel's environment: no GPU, and none of pytest's or Python's paths."""
    left_out = {"PYTEST_CURRENT_TEST", "PYTHONPATH", "MPLBACKEND"}
    return {**{key: value for key, value in os.environ.items() if key not in left_out}, "CUDA_VISIBLE_DEVICES": ""}


def clean(notebook: Any) -> None:
    """Remove what is of one execution alone: progress bars, versions, the size of pictures; in place."""
    notebook.metadata = METADATA
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if not _is_widget(output)]
        for output in cell.outputs:
            if png := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = _smaller(png)


def _is_widget(output: Any) -> bool:
    return any("jupyter.widget" in kind for kind in output.get("data", {}))


def _smaller(png: str) -> str:
    """Return a picture in base64 with fewer colors."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    stream = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def differences(stored: Any, fresh: Any) -> list[str]:
    """Return a line for each cell whose text is another one than in a fresh execution, but for those of `MACHINE`."""
    found = []
    for number, (old, new) in enumerate(zip(stored["cells"], fresh["cells"], strict=True), start=1):
        if old["cell_type"] == "code" and MACHINE not in old["metadata"].get("tags", []):
            before, after = texts(old), texts(new)
            if before != after:
                found.append(f"cell {number}: stored {before}, now {after}")
    return found


def texts(cell: Any) -> list[str]:
    """Return a cell's outputs as text: a stream's, Markdown, or what stands for a picture."""
    found = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        text = output.get("text") or data.get("text/markdown") or data.get("text/plain") or output["output_type"]
        found.append(("picture: " if "image/png" in data else "") + "".join(text))
    return found
