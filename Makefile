# make demo   set everything up, train on handwritten digits, evaluate (minutes on a CPU)
# make test   set everything up, check the style, run the fast tests
.PHONY: demo test test-slow test-2.6 clean

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
PADDLE := $(if $(shell command -v nvidia-smi),requirements.txt,requirements-cpu.txt)

demo: $(VENV)/.ready
	$(RUN) tools/make_digits.py
	$(RUN) train.py -c configs/digits_demo.yaml --overwrite
	$(RUN) eval.py --weights output/demo/best_model.pdparams
	@echo
	@echo "Learning curves:  output/demo/loss.png, output/demo/accuracy.png"
	@echo "Predictions:      output/demo/predictions.png"
	@echo "Dashboard:        $(VENV)/bin/visualdl --logdir output/demo"

test: $(VENV)/.ready-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(RUN) -m pytest -q

test-slow: $(VENV)/.ready-test $(VENV)/.ready-convert
	$(RUN) -m pytest -q -m slow

test-2.6: .venv-2.6/.ready-test
	.venv-2.6/bin/python -m pytest -q

clean:
	rm -rf .venv .venv-2.6 .pytest_cache .ruff_cache

%/.ready:
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --disable-pip-version-check -r $(PADDLE)
	touch $@

%/.ready-test: %/.ready
	$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	touch $@

# torch's own index may be out of reach where its CPU build is at hand; five retries a package would take minutes.
%/.ready-convert: %/.ready
	$*/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 -r requirements-convert.txt
	touch $@

$(VENV)/.ready: $(PADDLE) requirements-common.txt
$(VENV)/.ready-test: requirements-test.txt
$(VENV)/.ready-convert: requirements-convert.txt
.venv-2.6/.ready: PADDLE = requirements-cpu-2.6.txt
.venv-2.6/.ready: requirements-cpu-2.6.txt requirements-common.txt
.SECONDARY:
