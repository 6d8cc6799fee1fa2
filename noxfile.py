"""Tests on other versions of Paddle, Python and the libraries than your own, each row in an environment of its own.

    pip install "nox[uv]"
    nox -l                                             # the rows of the table below
    nox -s "tests(3.0.0-py3.11-newest)"                # one of them
    nox -s "tests(3.0.0-py3.11-newest)" -- -k resume    # other tests there
    nox                                                # all rows: hours

A row needs its Python on the PATH. docs/en/platforms.md says what was run, when, and with what result.
"""

import nox

nox.options.default_venv_backend = "uv"

# Which of the versions that requirements/ admit are installed. `oldest`: the lower bounds in common.txt and test.txt,
# or the first release above them that has a wheel for this Python.
REQUIREMENTS = {
    "newest": [],
    "numpy1": ["numpy<2"],
    "oldest": ["--resolution", "lowest-direct", "--only-binary", ":all:"],
}

FAST: list[str] = []  # all that `pytest` alone runs
CORE = [  # what depends on Paddle's numbers and on how Python starts processes
    "tests/models",
    *(f"tests/data/test_{name}.py" for name in ("augment", "erasing", "mixing", "pictures", "randaugment", "workers")),
    "tests/engine/metrics",
    "tests/engine/weights",
    *(f"tests/engine/training/test_{name}.py" for name in ("accumulate", "ema", "optimizer", "schedule", "step")),
    "tests/engine/output/test_checkpoints.py",
    "tests/engine/system/test_precision.py",
    "tests/project/test_paddle_private.py",
    *("-k", "not (base or medium or w14)"),  # the largest variants: the same code, and most of the time
]

# Paddle, Python, requirements, tests
ROWS = [
    ("3.3.1", "3.11", "newest", FAST),
    ("3.3.1", "3.11", "numpy1", CORE),
    ("3.3.1", "3.11", "oldest", CORE),
    ("3.3.1", "3.10", "newest", CORE),
    ("3.3.1", "3.12", "newest", CORE),
    ("3.3.1", "3.13", "newest", CORE),
    ("3.2.2", "3.11", "newest", CORE),
    ("3.1.1", "3.11", "newest", CORE),
    ("3.0.0", "3.11", "newest", FAST),
    ("3.0.0", "3.10", "oldest", CORE),
    ("3.0.0", "3.13", "newest", CORE),
    ("2.6.2", "3.11", "newest", FAST),
    ("2.6.2", "3.10", "oldest", CORE),
    ("2.6.2", "3.12", "newest", CORE),
]


@nox.session
@nox.parametrize("paddle,python,requirements,chosen", ROWS, ids=["{}-py{}-{}".format(*row) for row in ROWS])
def tests(session, paddle, requirements, chosen):
    """Run a row's tests, or those that the arguments after `--` choose."""
    of_paddle = "requirements/cpu-2.6.txt" if paddle.startswith("2.") else "requirements/cpu.txt"
    session.install(
        *REQUIREMENTS[requirements], f"paddlepaddle=={paddle}", "-r", of_paddle, "-r", "requirements/test.txt"
    )
    session.run("python", "-m", "pytest", "-q", *(session.posargs or chosen))
