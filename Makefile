# make demo   set everything up, train on handwritten digits, evaluate (minutes on a CPU)
# make test   set everything up, check the style, run the fast tests
# make dashboard   set everything up, start VisualDL on the runs below output/ (LOGDIR=... for others)
.PHONY: demo test test-slow test-export test-2.6 test-export-2.6 dashboard clean

PYTHON ?= python3
VENV ?= .venv
LOGDIR ?= output
RUN = $(VENV)/bin/python
EXPORT = requirements/export.txt
PADDLE := $(if $(shell command -v nvidia-smi),requirements.txt,requirements/cpu.txt)

demo: $(VENV)/.ready
	$(RUN) tools/make_digits.py
	$(RUN) train.py -c configs/digits_demo.yaml --overwrite
	$(RUN) eval.py --weights output/demo/best_model.pdparams --report
	$(RUN) tools/show_attention.py --weights output/demo/best_model.pdparams val:3 --region 0,0
	@echo
	@echo "Report:     output/demo/report.html"
	@echo "Attention:  output/demo/attention/rollout.png"
	@echo "Dashboard:  make dashboard"

dashboard: $(VENV)/.ready
	$(VENV)/bin/visualdl --logdir $(LOGDIR)

test: $(VENV)/.ready-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(RUN) -m pytest -q

test-slow: $(VENV)/.ready-test $(VENV)/.ready-convert
	$(RUN) -m pytest -q -m slow -n 0 --ignore tests/test_export.py  # some take a machine for themselves

test-export: $(VENV)/.ready-test $(VENV)/.ready-export
	$(RUN) -m pytest -q -m slow --dist load tests/test_export.py

test-2.6: .venv-2.6/.ready-test
	.venv-2.6/bin/python -m pytest -q

test-export-2.6: .venv-2.6/.ready-test .venv-2.6/.ready-export
	.venv-2.6/bin/python -m pytest -q -m slow --dist load tests/test_export.py

clean:
	rm -rf .venv .venv-2.6 .pytest_cache .ruff_cache

%/.ready:
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --disable-pip-version-check -r $(PADDLE)
	touch $@

%/.ready-export: %/.ready
	$*/bin/python -m pip install --quiet --disable-pip-version-check -r $(EXPORT)
	touch $@

%/.ready-test: %/.ready
	$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/test.txt
	touch $@

# torch's own index may be out of reach where its CPU build is at hand; five retries a package would take minutes.
%/.ready-convert: %/.ready
	$*/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 -r requirements/convert.txt
	touch $@

$(VENV)/.ready: $(PADDLE) requirements/common.txt
$(VENV)/.ready-test: requirements/test.txt
$(VENV)/.ready-convert: requirements/convert.txt
$(VENV)/.ready-export: requirements/export.txt
.venv-2.6/.ready: PADDLE = requirements/cpu-2.6.txt
.venv-2.6/.ready-export: EXPORT = requirements/export-2.6.txt
.venv-2.6/.ready-export: requirements/export-2.6.txt
.venv-2.6/.ready: requirements/cpu-2.6.txt requirements/common.txt
.SECONDARY:
