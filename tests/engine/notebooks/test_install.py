import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from engine.errors import UserError
from engine.notebooks import install
from tests.support.errors import refuses
from tests.support.runs import ROOT

LINES = [line.partition("#")[0].strip() for line in (ROOT / install.COMMON).read_text(encoding="utf-8").splitlines()]
REQUIREMENTS = {requirement.name: requirement for requirement in map(Requirement, filter(None, LINES))}


def oldest(requirement):
    return next(each.version for each in requirement.specifier if each.operator == ">=")


@pytest.fixture
def here(monkeypatch):
    """What is installed, {package: version}, to change at will; all that the project needs at first."""
    packages = {"paddlepaddle": "3.3.1"} | {name: oldest(each) for name, each in REQUIREMENTS.items()}

    def version(name):
        if name not in packages:
            raise metadata.PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(metadata, "version", version)
    return packages


@pytest.fixture
def pip(monkeypatch):
    """The arguments of each call of pip, which installs nothing, and the status that it ends with."""
    calls, status = [], [0]

    def run(command, cwd):
        assert (command[:3], cwd) == ([sys.executable, "-m", "pip"], ROOT)
        calls.append(command[5:])
        return subprocess.CompletedProcess(command, status[0])

    monkeypatch.setattr(subprocess, "run", run)
    return calls, status


def test_nothing_happens_where_everything_is(here, pip, capsys):
    install.install_missing()
    assert pip[0] == []
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(("gpu", "file"), [("/usr/bin/nvidia-smi", "requirements.txt"), (None, "requirements/cpu.txt")])
def test_without_a_paddle_the_one_for_the_machine_is_installed(here, pip, monkeypatch, gpu, file):
    del here["paddlepaddle"]
    monkeypatch.setattr(install.shutil, "which", lambda name: gpu)
    install.install_missing()
    assert pip[0] == [["-r", file]]
    assert (ROOT / file).exists()


@pytest.mark.parametrize("name", ["paddlepaddle", "paddlepaddle-gpu"])
def test_a_paddle_that_is_there_stays_and_only_what_is_missing_comes(here, pip, name):
    here[name] = here.pop("paddlepaddle")
    del here["visualdl"]
    here["tqdm"] = "4.0"
    install.install_missing()
    assert [Requirement(line).name for line in pip[0][0]] == ["visualdl", "tqdm"]
    assert set(pip[0][0]) < set(LINES)


def test_another_build_of_opencv_will_do(here):
    here["opencv-contrib-python"] = here.pop("opencv-python-headless")
    assert install.packages("3.3.1") == []


def test_paddle_2_needs_an_older_numpy(here):
    assert install.packages("2.6.2") == []
    here["numpy"] = "2.4.6"
    assert install.packages("3.3.1") == []
    assert install.packages("2.6.2") == ["numpy<2"]


@pytest.mark.parametrize(("version", "refused"), [("2.4.0", True), ("2.6.1", True), ("2.6.2", False), ("0.0.0", False)])
def test_an_older_paddle_is_not_replaced_but_refused(here, pip, version, refused):
    here["paddlepaddle"] = version
    if refused:
        with refuses(UserError, key="paddlepaddle", value=version):
            install.install_missing()
    else:
        install.install_missing()
    assert pip[0] == []


def test_a_package_that_is_loaded_already_needs_a_new_kernel(here, pip, capsys):
    here.update(numpy="1.20", jinja2="2.0")
    assert "numpy" in sys.modules
    install.install_missing()
    assert [Requirement(line).name for line in pip[0][0]] == ["numpy", "jinja2"]
    assert "numpy" in capsys.readouterr().out.splitlines()[-1]


def test_a_failure_of_pip_is_one_line(here, pip):
    del here["jinja2"]
    pip[1][0] = 1
    with refuses(UserError, key="pip", value=1):
        install.install_missing()


def test_it_runs_where_nothing_is_installed_yet():
    say = "from engine.notebooks.install import installed; print(installed(['numpy']))"
    command = [sys.executable, "-S", "-c", say]  # -S: without site-packages
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (0, "None\n", "")
