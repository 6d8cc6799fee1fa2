"""The scripts where Windows' limits hold. It is an imitation on Linux: tests/support/windows/sitecustomize.py says of
what, and what only a real Windows would show."""

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.weights import pdparams
from tests.support import archives
from tests.support.device import DEVICE
from tests.support.errors import one_line_about
from tests.support.runs import MICRO, ROOT, arguments, assert_same_run
from tests.support.trained import write_run

SUPPORT = ROOT / "tests" / "support"
CLASSES = ["cat ≥ 1 ×", "狗"]  # neither is in cp1252 as a whole
CONTENT = b"an archive"


def environment(folder, **more):
    """The variables of a process in the imitation; processes with the same folder see each other's open files."""
    noted = folder / "processes"
    noted.mkdir(exist_ok=True)
    path = os.pathsep.join(map(str, (SUPPORT / "windows", ROOT, ROOT / "tools")))
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONUTF8", "PYTHONIOENCODING")}
    return {**kept, "PYTHONPATH": path, "IMITATION_PROCESSES": str(noted), **more}


def start(command, folder, *, variables=None, **pipes):
    variables = environment(folder, **variables or {})
    return subprocess.Popen([sys.executable, *map(str, command)], env=variables, cwd=folder, **pipes)


def pictures(folder):
    """A folder of pictures in two classes, 24 to train on and 8 to validate on."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for i, name in enumerate(CLASSES):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                picture = rng.integers(100 * i, 100 * i + 100, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(picture).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def server():
    """Serve CONTENT on loopback; returns the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/archive"
        httpd.shutdown()


FETCH = """
from dataclasses import replace
from data import ARCHIVES
from engine import cli
ARCHIVES["cifar10"] = replace(ARCHIVES["cifar10"], addresses=({address!r},), md5={md5!r})
cli.run(lambda: cli.download_archive("cifar10", "words"))
"""


def jobs_of(home):
    """The scripts in the order in which they run: {name: (script, arguments)}."""
    tools, train, evaluate = ROOT / "tools", ROOT / "train.py", ROOT / "eval.py"
    run, fast, stopped = (home / name for name in RUNS)
    of_pictures = arguments(
        home / "pictures", run, "data.name=folder", "data.side=32", "model.num_classes=0", "data.pipeline=host"
    )
    of_archive = functools.partial(arguments, home / "cifar10.tar.gz")
    best, settings = ("--weights", run / "best_model.pdparams"), ("-c", MICRO, "-o", f"device={DEVICE}")
    return {
        "download": (home / "fetch.py", ("--output", home / "fetched" / "archive.tar.gz")),
        "make_digits": (tools / "make_digits.py", ("--output", home / "digits" / "digits.tar.gz")),
        "options_page": (home / "copy" / "tools" / "options_page.py", ()),
        "summary": (tools / "summary.py", settings),
        "train": (train, of_pictures),
        "train fast": (train, of_archive(fast)),
        "train in a used folder": (train, of_archive(fast)),
        "train on a folder": (train, arguments(home / "pictures", home / "never")),
        "train host": (train, of_archive(home / "host", "data.pipeline=host")),
        "train with workers": (train, of_archive(home / "workers", "data.pipeline=host", "data.num_workers=2")),
        "stop": (train, of_archive(stopped, "data.pipeline=host")),
        "resume": (train, ("--resume", stopped)),
        "resume a killed one": (train, ("--resume", home / "killed")),
        "eval": (evaluate, (*best, "--report", "--output", home / "evaluated")),
        "predict": (tools / "predict.py", (*best, home / "pictures/val" / CLASSES[1], "--output", home / "predicted")),
        "predict as JSON": (tools / "predict.py", (*best, "val:1", "--json")),
        "show_attention": (tools / "show_attention.py", (*best, "val:3")),
        "show_augmentation": (
            tools / "show_augmentation.py",
            ("-c", run / "config.yaml", "--epochs", 2, "--output", home / "augmentation"),
        ),
        "export": (tools / "export.py", best),
        "export again": (tools / "export.py", best),
        "eval of the export": (evaluate, ("--weights", run / "paddle", "--output", home / "exported")),
        "compare": (tools / "compare.py", (run, fast, "--output", home / "compared")),
        "plot_curves": (tools / "plot_curves.py", (run,)),
        "benchmark": (
            tools / "benchmark.py",
            (*settings, "--steps", 1, "--batch", 2, "--only", "train_step,save", "--json", home / "benchmark.json"),
        ),
        "overwrite": (train, (*of_pictures, "--overwrite")),
        "stop by Ctrl-Break": (train, (*of_pictures, "--overwrite")),
    }


RUNS = ("my run's", "fast", "stopped")
STATUS = {
    "stop": 130,
    "stop by Ctrl-Break": 131,
    "train in a used folder": 2,
    "train on a folder": 2,
}  # of those that do not end with 0
SIGNAL_AT = {"stop": (3, "SIGINT"), "stop by Ctrl-Break": (1, "SIGBREAK")}  # which is Linux's SIGQUIT


def put_together(home, address):
    """Write what the scripts read."""
    pictures(home / "pictures")
    fetch = FETCH.format(address=address, md5=hashlib.md5(CONTENT).hexdigest())
    (home / "fetch.py").write_text(fetch, encoding="utf-8")
    copy = home / "copy"  # of the tool that writes into its project's docs
    for name in ("tools/options_page.py", "tools/_environment.py", "docs/en/options.md", "docs/zh/options.md"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    shutil.copytree(ROOT / "configs", copy / "configs")
    return archives.write(home / "cifar10.tar.gz", archives.members())


@pytest.fixture(scope="module")
def home(tmp_path_factory, server):
    """A folder in which all scripts have run, with results.json."""
    home = tmp_path_factory.mktemp("Räder & more")
    archive = put_together(home, server)
    dying = [SUPPORT / "dying_train.py", 60, "SIGTERM", *arguments(archive, home / "killed")]
    fat = {"IMITATION_FAT": "1"}
    dead = start(dying, home, variables=fat, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = dead.communicate()
    results = run_in_turn(home, jobs_of(home))
    results["killed"] = {"status": dead.returncode, "out": output.decode("cp1252"), "err": ""}
    (home / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return home


def run_in_turn(home, jobs):
    """Run scripts in one process; return the status and the output of each by name."""
    listed = [
        {"name": name, "script": str(script), "arguments": list(map(str, values)), "signal_at": SIGNAL_AT.get(name)}
        for name, (script, values) in jobs.items()
    ]
    (home / "jobs.json").write_text(json.dumps(listed), encoding="utf-8")
    assert start([SUPPORT / "in_turn.py", home / "jobs.json", home / "done.json"], home).wait() == 0
    return json.loads((home / "done.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def results(home):
    return json.loads((home / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", jobs_of(Path("home")))
def test_a_script_works(results, name):
    done = results[name]
    assert done["status"] == STATUS.get(name, 0), done["err"][-2000:]
    assert "Traceback" not in done["err"]


def test_ctrl_c_stops_a_run_which_resumes_to_the_same_bits(home, results):
    assert "Stopped by SIGINT at step 4" in results["stop"]["out"]
    assert_same_run(home / "host", home / "stopped")


def test_a_run_ended_at_once_resumes_to_the_same_bits(home, results):
    assert results["killed"]["status"] == -9, results["killed"]["out"]  # as every `os.kill` on Windows
    assert_same_run(home / "fast", home / "killed")


def test_workers_change_no_bit(home):
    assert_same_run(home / "host", home / "workers")


HOLD = """
import sys
from engine.system.lock import Lock
with Lock(sys.argv[1]) as lock:
    print(lock.warning, flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_refused_while_another_process_holds_it(tmp_path):
    command = ["-c", HOLD, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(command, tmp_path, **pipes) as holder:
        assert holder.stdout.readline().split() == [b"None"]
        with start(command, tmp_path, **pipes) as second:
            err = second.communicate()[1].decode("cp1252")
        assert second.returncode == 1
        assert f"UserError: output_dir: {tmp_path} is in use by process {holder.pid} on " in err
        holder.communicate()
    with start(command, tmp_path, **pipes) as third:
        assert third.communicate()[0].split() == [b"None"]


REPLACE = """
import sys
from pathlib import Path
from common import windows
from engine.system import atomic
windows.PATIENCE = float(sys.argv[2])
file = Path(sys.argv[1])
print(flush=True)
atomic.replace_text(file, "new")
"""


@pytest.mark.parametrize(("lets_go", "patience"), [(True, 60), (False, 0.5)])
def test_a_file_that_is_being_read_is_replaced_once_its_reader_lets_go(lets_go, patience, tmp_path):
    file = tmp_path / "file.txt"
    file.write_text("old", encoding="utf-8")
    with file.open(encoding="utf-8") as stream:
        (tmp_path / "processes").mkdir()
        (tmp_path / "processes" / str(os.getpid())).touch()  # the reader
        with start(["-c", REPLACE, file, patience], tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(0.3)
            if lets_go:
                stream.close()
            err = writer.communicate()[1]
    assert (writer.returncode == 0) == lets_go, err
    assert file.read_text(encoding="utf-8") == ("new" if lets_go else "old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "processes"]


def test_classes_with_any_letters_are_read_shown_and_written(home, results):
    report = (home / "evaluated" / "report.html").read_text(encoding="utf-8")
    noted = json.loads((home / RUNS[0] / "environment.json").read_text(encoding="utf-8"))["archive"]["classes"]
    assert noted == sorted(CLASSES)
    assert all(name in report for name in CLASSES)
    assert "\\u72d7" in results["predict"]["out"]  # the console of cp1252 lacks the letter
    assert CLASSES[1] in (home / "predicted" / "predictions.json").read_text(encoding="utf-8")
    answer = json.loads(results["predict as JSON"]["out"])
    assert {guess["class"] for guess in answer["predictions"][0]["top"]} == set(CLASSES)


def test_no_name_that_the_scripts_write_is_refused_or_differs_by_case_alone(home):
    folders = [folder for folder in home.rglob("*") if folder.is_dir()]
    assert len(folders) > 20
    for folder in folders:
        names = [path.name for path in folder.iterdir()]
        assert len({name.casefold() for name in names}) == len(names), folder
        for name in names:
            assert not re.search(r'[<>:"|?*]|[. ]$', name), folder / name
            assert not re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE), folder / name


def test_texts_are_the_same_bytes_as_elsewhere(home):
    """But for logs, which a user of Windows opens in an editor, and what this test wrote itself."""
    texts = [file for file in home.rglob("*/*") if file.suffix in (".json", ".yaml", ".html", ".md")]
    assert len(texts) > 20
    for file in texts:
        assert b"\r" not in file.read_bytes(), file
    history = (home / "fast" / "history.csv").read_bytes()
    assert history.count(b"\r") == history.count(b"\n") > 2  # as CSV has them everywhere


def test_printed_commands_are_for_the_shell_that_is_there(home, results):
    best = home / RUNS[0] / "best_model.pdparams"  # with a space, an apostrophe and an ampersand
    assert f'python eval.py --weights "{best}" --report' in results["train"]["out"]
    assert f'python train.py --resume "{home / "stopped"}"' in results["stop"]["out"]


def test_a_folder_for_an_archive_is_told_from_one_that_may_not_be_read(home, results):
    one_line_about(results["train on a folder"]["err"], "data.file", home / "pictures", "data.name=folder")


def test_the_benchmark_knows_its_peak_memory(home):
    report = json.loads((home / "benchmark.json").read_text(encoding="utf-8"))
    assert 50 < report["train_step"]["peak_memory_mb"] < 5000


def test_the_options_page_is_the_same_bytes(home):
    for language in ("en", "zh"):
        page = f"docs/{language}/options.md"
        assert (home / "copy" / page).read_bytes() == (ROOT / page).read_bytes()


def test_the_cpu_is_named_without_proc(results):
    assert "Device: cpu (Intel64 Family 6 Model 143" in results["train"]["out"]


@pytest.mark.slow
def test_an_export_as_onnx_works(tmp_path, nano):
    pytest.importorskip("paddle2onnx")
    run = write_run(tmp_path / "run", archives.write(tmp_path / "cifar10.tar.gz", archives.members()))
    weights = run / "best_model.pdparams"
    jobs = {
        "export": (ROOT / "tools" / "export.py", ("--weights", weights, "--format", "onnx")),
        "eval": (ROOT / "eval.py", ("--weights", run / "onnx", "--output", tmp_path / "evaluated")),
    }
    for name, done in run_in_turn(tmp_path, jobs).items():
        assert done["status"] == 0, f"{name}: {done['err']}"


@pytest.mark.slow
def test_weights_are_converted_both_ways(tmp_path, nano):
    pytest.importorskip("torch")
    run = write_run(tmp_path / "run", archives.write(tmp_path / "cifar10.tar.gz", archives.members()))
    weights, tool = run / "best_model.pdparams", ROOT / "tools" / "convert_weights.py"
    jobs = {"there": (tool, (weights, run / "a.pth")), "back": (tool, (run / "a.pth", run / "a.pdparams"))}
    for name, done in run_in_turn(tmp_path, jobs).items():
        assert done["status"] == 0, f"{name}: {done['err']}"
    before, after = pdparams.load(weights), pdparams.load(run / "a.pdparams")
    assert len(after) > 20
    for name, array in after.items():
        np.testing.assert_equal(array, before[name])
