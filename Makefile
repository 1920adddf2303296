# Every target sets up what it needs: a virtual environment in $(VENV), installed once and again when setup.cfg changes.
# Needs make and Python 3.11, 3.12 or 3.13. `make demo PYTHON=/path/to/python3.12` chooses the interpreter.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
SIONNA_VENV ?= .venv-sionna
TORCH_VENV ?= .venv-torch
TORCH ?= torch==2.13.0
OUT ?= demo_output
WORKERS ?= 2
PYTEST_ARGS ?=
DATA ?= ../shared/data
PICTURES ?= build/pictures_160.npz
CONFIG ?= experiments/configs/demo.py
RUN_DIR ?= runs/demo
TRAIN_ARGS ?=
QUEUE_ARGS ?=
DETECTION ?= build/detection_256.npz
DETECTION_320 ?= build/detection_320.npz
DETECTOR_RUN_DIR ?= runs/flashsam
GPU_JAX ?= jax[cuda12]
GPU_OUT ?= build/gpu
GPU_ARGS ?=
REHEARSE ?=

# A version manager may put a `python3.12` on the PATH that only prints an error: ask each candidate to run.
usable = import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c '$(usable)' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

BIN := $(VENV)/bin
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
DETECTOR := $(VENV)/.installed-detection
DOCS := $(VENV)/.installed-docs
GPU := $(VENV)/.installed-gpu

.PHONY: help demo test test-slow test-sionna test-parity lint types docs train train-detector queue queue-status gpu smoke clean distclean

help: ## What the targets do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "make: no Python 3.11 to 3.13 found; name one: make PYTHON=/path/to/python3.12" >&2; exit 1; fi
	"$(PYTHON)" -m venv "$(VENV)" || { rm -rf "$(VENV)"; exit 1; }

# The stamps keep a second run off the network.
$(DEMO): setup.cfg pyproject.toml | $(BIN)/python
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch "$@"

$(DEV): setup.cfg pyproject.toml | $(BIN)/python
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[demo,test,dev]'
	@touch "$@" "$(DEMO)"

demo: $(DEMO) ## Send the demo photographs; table, curves and pictures in demo_output/
	"$(BIN)/lvm-mtc" demo --out "$(OUT)" --overwrite

test: $(DEV) ## Run the tests of less than two seconds each (PYTEST_ARGS="tests/phy -x" for some of them)
	"$(BIN)/python" -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-slow: $(DEV) ## Run the tests of two seconds and more: whole commands, trainings, long statistics, killed and resumed runs
	"$(BIN)/python" -m pytest -q -m slow -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

$(SIONNA_VENV)/.installed: setup.cfg pyproject.toml
	[ -x "$(SIONNA_VENV)/bin/python" ] || "$(PYTHON)" -m venv "$(SIONNA_VENV)"
	"$(SIONNA_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[sionna,test]'
	@touch "$@"

test-sionna: $(SIONNA_VENV)/.installed ## Run the comparisons with Sionna 1.2.2, in a virtual environment of their own
	"$(SIONNA_VENV)/bin/python" -m pytest -q -m sionna -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

$(TORCH_VENV)/.installed: setup.cfg pyproject.toml
	[ -x "$(TORCH_VENV)/bin/python" ] || "$(PYTHON)" -m venv "$(TORCH_VENV)"
	"$(TORCH_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	"$(TORCH_VENV)/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[parity,test]'
	@touch "$@"

test-parity: $(TORCH_VENV)/.installed ## Run the comparisons with PyTorch and transformers, in a virtual environment of their own
	"$(TORCH_VENV)/bin/python" -m pytest -q -m parity $(PYTEST_ARGS)

lint: $(DEV) ## Check the style
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

types: $(DEV) ## Check the types of phy, link, schemes and results (needs node)
	"$(BIN)/pyright" --pythonpath "$(BIN)/python"

$(DOCS): setup.cfg pyproject.toml | $(BIN)/python
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[demo,docs]'
	@touch "$@" "$(DEMO)"

docs: $(DOCS) ## Build the site in build/site: notebooks run, warnings and dead links are errors
	"$(BIN)/python" -m sphinx -q -E -W --keep-going -j $(WORKERS) -b html -d build/doctrees docs build/site
	"$(BIN)/python" docs/check_site.py build/site

$(PICTURES): | $(DEMO)
	"$(BIN)/python" -m experiments.demo.pack_pictures --data "$(DATA)" --out "$(PICTURES)"

train: $(DEMO) $(PICTURES) ## Train the demo's weights from the pictures in DATA= (TRAIN_ARGS="--set stages.token.total_steps=100")
	"$(BIN)/lvm-mtc" train --config "$(CONFIG)" --stage all --data "$(PICTURES)" --run-dir "$(RUN_DIR)" $(TRAIN_ARGS)

# Packing asks YOLOX-nano for boxes on the pictures that have none; the training's second half reads its file.
$(DETECTOR): setup.cfg pyproject.toml | $(BIN)/python
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[demo,detection]'
	@touch "$@"

$(DETECTION): | $(DETECTOR)
	"$(BIN)/python" -m experiments.detector.pack_detection --data "$(DATA)" --out "$(DETECTION)" --size 256 --teacher

$(DETECTION_320): | $(DETECTOR)
	"$(BIN)/python" -m experiments.detector.pack_detection --data "$(DATA)" --out "$(DETECTION_320)" --size 320

train-detector: $(DETECTOR) $(DETECTION) $(DETECTION_320) ## Train FlashSAM-n from the pictures and teachers in DATA= (hours on two cores)
	"$(BIN)/lvm-mtc" train --config experiments/configs/flashsam.py --stage detector --run-dir "$(DETECTOR_RUN_DIR)" \
		--data "$(DETECTION)" --guide "$(DATA)/weights/efficientnet_lite0_fp16.npz"
	"$(BIN)/lvm-mtc" train --config experiments/configs/flashsam.py:distilled --stage detector \
		--run-dir "$(DETECTOR_RUN_DIR)_distilled" --data "$(DETECTION)" "$(DETECTION_320)" \
		--teacher "$(DATA)/weights/yolox_nano.onnx" --start "$(DETECTOR_RUN_DIR)/phase2_256/weights.npz"

queue: $(DEMO) ## Train the codecs that matter in the background, at idle priority on one core (days; QUEUE_ARGS="--stop")
	"$(BIN)/python" -m experiments.queue.serve --data "$(DATA)" $(QUEUE_ARGS)

queue-status: $(DEMO) ## Where each of these trainings stands
	"$(BIN)/python" -m experiments.queue.serve --status

# JAX for CUDA is a matter of gigabytes: fetched only where the driver lists a GPU.
$(GPU): $(DEV)
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -e '.[demo,test]' '$(GPU_JAX)'
	@touch "$@"

gpu: ## Oracles, benchmarks and trainings on a GPU in 25 minutes, packed in build/gpu/pack (REHEARSE=1: small, on the CPU)
	@[ -n "$(REHEARSE)" ] || nvidia-smi -L 2>/dev/null | grep -q GPU || \
		{ echo "make gpu: no GPU found here; REHEARSE=1 goes through it on the CPU" >&2; exit 2; }
	@$(MAKE) --no-print-directory $(if $(REHEARSE),$(DEV),$(GPU))
	"$(BIN)/python" benchmarks/gpu.py --out "$(GPU_OUT)" --data "$(DATA)" $(if $(REHEARSE),--rehearse) $(GPU_ARGS)

smoke: $(DEV) ## Import every module and run the shortest tests
	"$(BIN)/python" -m pytest -q tests/test_layers.py $(PYTEST_ARGS)
	"$(BIN)/lvm-mtc" --version

clean: ## Remove results and caches
	rm -rf "$(OUT)" build dist .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## Remove the virtual environment too
	rm -rf "$(VENV)" "$(SIONNA_VENV)" "$(TORCH_VENV)"
