.PHONY: help setup demo gpu-check test test-slow test-export test-examples test-integrations test-3.0 test-2.6 test-export-2.6 gpu-kernels dashboard clean

PYTHON ?= python3
VENV ?= .venv
LOGDIR ?= output
RUN = $(VENV)/bin/python
EXPORT = requirements/export.txt
EXPORTS = tests/engine/inference/test_export.py tests/engine/inference/test_reduced.py
APART = $(EXPORTS) tests/examples tests/integrations
PADDLE := $(if $(shell command -v nvidia-smi),requirements.txt,requirements/cpu.txt)
PIP_INSTALL = $*/bin/python -m pip install --quiet --disable-pip-version-check
# `make UV=uv ...` installs with uv: seconds instead of minutes.
INSTALL = $(if $(UV),$(UV) pip install --quiet --python $*/bin/python,$(PIP_INSTALL))

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.ready  ## make the virtual environment; activate it with `. .venv/bin/activate`

demo: $(VENV)/.ready  ## set up, train on handwritten digits, evaluate: minutes on a CPU
	$(RUN) tools/make_digits.py
	$(RUN) train.py -c configs/digits_demo.yaml --overwrite
	$(RUN) eval.py --weights output/demo/best_model.pdparams -o data.holdout=0 --calibrate --report
	$(RUN) tools/show_attention.py --weights output/demo/best_model.pdparams val:3 --region 0,0
	@echo
	@echo "Report:     output/demo/report.html"
	@echo "Attention:  output/demo/attention/rollout.png"
	@echo "Dashboard:  make dashboard"

gpu-check: $(VENV)/.ready  ## set up, check everything that a GPU may do otherwise; one table to post
	$(RUN) tools/gpu_check.py

dashboard: $(VENV)/.ready  ## set up, start VisualDL on the runs below output/ (LOGDIR=... for others)
	$(VENV)/bin/visualdl --logdir $(LOGDIR)

test: $(VENV)/.ready-test  ## set up, check style and types, run the fast tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(RUN) -m pytest -q

test-slow: $(VENV)/.ready-test $(VENV)/.ready-convert $(VENV)/.ready-study  ## run the slow tests that have no target of their own
	$(RUN) -m pytest -q -m slow $(addprefix --ignore ,$(APART))

test-export: $(VENV)/.ready-test $(VENV)/.ready-export  ## export every variant in every format
	$(RUN) -m pytest -q -m slow --dist load $(EXPORTS)

test-examples: $(VENV)/.ready-test $(VENV)/.ready-export .venv-examples/.ready .venv-examples/.ready-onnxruntime  ## start every example as its users do
	REGIONVIT_EXAMPLES_PYTHON=.venv-examples/bin/python REGIONVIT_ONNXRUNTIME_ROOT=.venv-examples/onnxruntime \
	$(RUN) -m pytest -q -m slow tests/examples

test-integrations: .venv-integrations/.ready-test .venv-integrations/.ready-no-deps  ## train detectors and segmenters on this backbone
	.venv-integrations/bin/python -m pytest -q -m slow tests/integrations

test-3.0: .venv-3.0/.ready-test  ## run the fast tests on Paddle 3.0.0
	.venv-3.0/bin/python -m pytest -q

test-2.6: .venv-2.6/.ready-test  ## run the fast tests on Paddle 2.6.2
	.venv-2.6/bin/python -m pytest -q
	.venv-2.6/bin/python -m pytest -q -m slow tests/project/test_imports.py

test-export-2.6: .venv-2.6/.ready-test .venv-2.6/.ready-export  ## export every variant on Paddle 2.6.2
	.venv-2.6/bin/python -m pytest -q -m slow --dist load $(EXPORTS)

gpu-kernels: .venv-gpu-2.6/.ready  ## check that Paddle's GPU wheel has what training launches; needs no GPU, but 3 GB
	.venv-gpu-2.6/bin/python tools/gpu_kernels.py

clean:  ## remove the virtual environments and caches
	rm -rf .venv .venv-2.6 .venv-3.0 .venv-gpu-2.6 .venv-examples .venv-integrations .venv-uv .nox .pytest_cache .ruff_cache .mypy_cache *.egg-info

%/.ready:
	$(PYTHON) -m venv $*
	$(INSTALL) -r $(PADDLE)
	touch $@

%/.ready-export: %/.ready
	$(INSTALL) -r $(EXPORT)
	touch $@

%/.ready-test: %/.ready
	$(INSTALL) -r requirements/test.txt
	touch $@

%/.ready-study: %/.ready
	$(INSTALL) -r requirements/explore.txt -r requirements/notebook.txt
	touch $@

%/.ready-no-deps: %/.ready
	$(INSTALL) --no-deps -r requirements/integrations-no-deps.txt
	touch $@

# By pip alone, whose settings may name a CPU build of torch at hand. Where torch's own index is out of reach, five
# retries per package would take minutes.
%/.ready-convert: %/.ready
	$(PIP_INSTALL) --retries 1 -r requirements/convert.txt
	touch $@

$(VENV)/.ready: $(PADDLE) requirements/common.txt pyproject.toml
$(VENV)/.ready-test: requirements/test.txt
$(VENV)/.ready-convert: requirements/convert.txt
$(VENV)/.ready-export: requirements/export.txt
$(VENV)/.ready-study: requirements/explore.txt requirements/notebook.txt
.venv-3.0/.ready: PADDLE = requirements/cpu.txt paddlepaddle==3.0.0
.venv-3.0/.ready: requirements/cpu.txt requirements/common.txt pyproject.toml
.venv-2.6/.ready: PADDLE = requirements/cpu-2.6.txt
.venv-2.6/.ready-export: EXPORT = requirements/export-2.6.txt
.venv-2.6/.ready-export: requirements/export-2.6.txt
.venv-2.6/.ready: requirements/cpu-2.6.txt requirements/common.txt pyproject.toml
.venv-gpu-2.6/.ready: PADDLE = requirements/gpu-2.6.txt
.venv-gpu-2.6/.ready: requirements/gpu-2.6.txt requirements/common.txt pyproject.toml
.venv-examples/.ready: PADDLE = requirements/examples.txt
.venv-examples/.ready: requirements/examples.txt
# Microsoft's C++ headers and library for x86-64 Linux, as its release has them, from an npm package that has both.
.venv-examples/.ready-onnxruntime: .venv-examples/.ready
	mkdir -p $(@D)/onnxruntime/include $(@D)/onnxruntime/lib
	npm pack --silent --pack-destination $(@D) com.github.asus4.onnxruntime@0.4.9 >/dev/null
	mv $(@D)/com.github.asus4.onnxruntime-*.tgz $(@D)/onnxruntime.tgz
	tar -xzf $(@D)/onnxruntime.tgz -C $(@D)/onnxruntime/include --strip-components 7 --wildcards '*/ios-arm64/*/Headers/*.h'
	tar -xzf $(@D)/onnxruntime.tgz -C $(@D)/onnxruntime/lib --strip-components 4 package/Plugins/Linux/x64/libonnxruntime.so
	ln -sf libonnxruntime.so $(@D)/onnxruntime/lib/libonnxruntime.so.1
	rm $(@D)/onnxruntime.tgz
	touch $@
.venv-integrations/.ready-no-deps: requirements/integrations-no-deps.txt
.venv-integrations/.ready: PADDLE = requirements/cpu.txt -r requirements/integrations.txt
.venv-integrations/.ready: requirements/integrations.txt requirements/cpu.txt requirements/common.txt pyproject.toml
.SECONDARY:
