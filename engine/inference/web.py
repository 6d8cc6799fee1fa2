"""An export to ONNX with a page that runs it in the browser: onnxruntime-web, from npm, in WebAssembly."""

import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from engine import filenames
from engine.config.options import Config
from engine.errors import UserError
from engine.inference import cost, export as exports, placing, program, reduced
from engine.system import atomic
from engine.system.environment import PROJECT

FORMAT = "web"
VERSION = "1.30.0"  # of onnxruntime-web; what it computes was compared with onnxruntime
ABOUT = "package.json"
DIST = ("dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm")  # all that the page needs of the package
LICENSES = ("LICENSE", "ThirdPartyNotices.txt")  # onnxruntime's, in its Python package; the npm package has none
PAGE = (
    *(PROJECT / "examples" / "browser" / name for name in ("index.html", "page.css", "page.mjs")),
    PROJECT / "examples" / "node" / "steps.mjs",
)
GIVE = "give the folder of its unpacked npm package with --onnxruntime-web"


def export(
    weights: str | Path,
    config: Config,
    output: str | Path,
    precision: str = reduced.FLOAT32,
    most_lost: float = cost.MOST_LOST,
    package: str | Path | None = None,
) -> tuple[list[Path], list[str]]:
    """Export a trained model into a folder that a static server can serve: see `engine.inference.export.export`.

    Args:
        package: the folder of an unpacked npm package of onnxruntime-web; None: npm fetches `VERSION`.

    Raises:
        UserError: as for ONNX; npm or the package cannot be used, or the folder holds another page.
    """
    program.check_installed(*program.FOR_ONNX)
    names = (*(file.name for file in PAGE), *(Path(name).name for name in DIST))
    before = placing.files_to_replace(Path(output), program.CLASSIFICATION, FORMAT, precision, names)
    with atomic.writing_into(output) as folder, tempfile.TemporaryDirectory() as temporary:
        runtime, made = Path(temporary) / "runtime", Path(temporary) / "made"
        version = _unpacked(Path(package), runtime) if package else _fetched(runtime)
        _, lines = exports.export(weights, config, "onnx", made, precision, most_lost)
        for file in (*PAGE, *runtime.iterdir(), *_licenses()):
            shutil.copyfile(file, made / _name(file))
        _describe(made, version)
        files = placing.put(made, folder, before)
    size = sum(map(atomic.size, files)) / 1e6
    lines.append(f"page: {size:.1f} MB with onnxruntime-web {version}; to see it: python -m http.server -d {folder}")
    return files, lines


def _name(file: Path) -> str:
    return f"onnxruntime-{file.name}" if file.name in LICENSES else file.name


def _describe(folder: Path, version: str) -> None:
    """Let the description of an ONNX export say that it is one for the web, and list the page's files."""
    file = folder / filenames.DESCRIPTION
    description = json.loads(file.read_text(encoding="utf-8"))
    others = sorted(each for each in folder.iterdir() if each != file)
    changes: dict[str, Any] = {
        "format": FORMAT,
        "files": {each.name: atomic.sha256sum(each) for each in others},
        "onnxruntime_web": version,
    }
    atomic.replace_text(file, json.dumps({**description, **changes}, indent=2) + "\n")


def _licenses() -> list[Path]:
    """Return the files of onnxruntime's license and of the notices of what it is built from.

    Raises:
        UserError: they are missing.
    """
    import onnxruntime

    files = [Path(onnxruntime.__file__).parent / name for name in LICENSES]
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(
            f"{missing[0]}: missing, and onnxruntime-web may not be passed on without it: {program.INSTALL}",
            key=missing[0].name,
            place=missing[0],
        )
    return files


def _unpacked(package: Path, target: Path) -> str:
    """Copy what the page needs from an unpacked package into a new folder; return the package's version.

    Raises:
        UserError: it is not the package.
    """
    target.mkdir()
    try:
        about = json.loads((package / ABOUT).read_text(encoding="utf-8"))
        if about["name"] != "onnxruntime-web":
            raise ValueError(f"{ABOUT} is of {about['name']}")
        for name in DIST:
            shutil.copyfile(package / name, target / Path(name).name)
        return str(about["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--onnxruntime-web {package}: not the npm package onnxruntime-web {VERSION} ({error}): unpack what "
            f"`npm pack onnxruntime-web@{VERSION}` gives",
            key="--onnxruntime-web",
            value=str(package),
            place=package,
        ) from error


def _fetched(target: Path) -> str:
    """Fetch the package with npm, which checks it against the registry's checksum, as `_unpacked` does.

    Raises:
        UserError: there is no npm, or it fails.
    """
    npm, name = shutil.which("npm"), f"onnxruntime-web@{VERSION}"
    if not npm:
        raise UserError(f"--format web: needs npm to fetch {name}: install Node.js, or {GIVE}", key="npm")
    with tempfile.TemporaryDirectory() as temporary:
        # What npm has in its cache needs no network; without one it would try again for a minute.
        options = ["--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--ignore-scripts"]
        done = subprocess.run(
            [npm, "pack", name, *options], cwd=temporary, capture_output=True, encoding="utf-8", errors="replace"
        )
        archives = list(Path(temporary).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            said = [line.partition("error")[2].strip() for line in done.stderr.splitlines() if "error" in line]
            reason = said[0] if said else f"status {done.returncode}"
            raise UserError(f"--format web: npm did not fetch {name} ({reason}): go online, or {GIVE}", key="npm")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(temporary, [archive.getmember(f"package/{name}") for name in (ABOUT, *DIST)])
        return _unpacked(Path(temporary) / "package", target)
