# `make` alone lists the targets. Every path is relative, so a clone may lie in a folder with spaces in its name.

PYTHON  ?= python3
RECIPE  ?= pick-style
OUT     ?= out/$(RECIPE)
PROFILE ?= auto

UV_VERSION := 0.13.8
VENV  := .venv
BIN   := $(VENV)/bin
UV    := $(BIN)/uv
# Two stamps, each written last: the environment has its uv; the environment has everything.
UV_READY := $(VENV)/.uv-$(UV_VERSION)
READY    := $(VENV)/.ready

# The libraries report to nobody while this project runs them.
export HF_HUB_DISABLE_TELEMETRY := 1
# What a shell or a cluster's module system may set to send an install, or an import, elsewhere than into .venv.
unexport PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX UV_SYSTEM_PYTHON

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help dataset setup test lint types check bench lock clean again

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  e.g.  make dataset RECIPE=pick-safety OUT=out/safety PROFILE=auto     make setup PYTHON=python3.12'
	@echo '  then  . $(BIN)/activate   puts `datagen` and `python` on the PATH of this shell'

dataset: $(READY)  ## build a dataset: RECIPE=pick-style OUT=out/RECIPE PROFILE=auto
	$(BIN)/datagen run '$(RECIPE)' --out '$(OUT)' --profile '$(PROFILE)'

setup: $(READY)  ## make .venv and install what requirements.lock names (PYTHON=python3)

# A thread per worker: two that each take every core are slower than one after the other.
test: export OMP_NUM_THREADS := 1
test: $(READY)  ## run every test, the slow ones too, on all cores
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder

lint: $(READY)  ## ruff: rules and format
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(READY)  ## mypy, strict
	$(BIN)/python -m mypy

check: lint types test  ## the gate: lint, types, test

bench: $(READY)  ## compare with the peers
	$(BIN)/python -m benchmarks

# The lock serves every platform and every Python from 3.11 on, with one version of each package for all of them
# (fork-strategy fewest). It comes from pyproject.toml and requirements.override alone: no configuration of this machine has
# a say in it. It is complete, so it is installed without looking for more (--no-deps).
# A locked version stays as long as it fits; ARGS=--upgrade takes the newest.
lock: $(UV_READY)  ## resolve pyproject.toml into requirements.lock (ARGS=--upgrade)
	env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS -u UV_CONSTRAINT \
	  -u UV_OVERRIDE -u UV_EXCLUDE_NEWER -u UV_PRERELEASE -u UV_RESOLUTION -u UV_TORCH_BACKEND \
	  $(UV) --no-config pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --extra dev \
	  --generate-hashes --custom-compile-command 'make lock' --override requirements.override $(ARGS) --output-file requirements.lock pyproject.toml

clean:  ## remove .venv, caches and build outputs; datasets in out/ stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -path ./out -prune -o -path ./.git -prune -o -type d -name __pycache__ -exec rm -rf {} +
	@if test -e out; then echo 'out/ is kept: it holds your datasets. To remove them too: rm -r out'; fi

# --- the set-up ------------------------------------------------------------------------------------------------
# .ready holds the clone's folder. It is made again when the lock or the project file changes, when the clone has
# moved (installed scripts hold absolute paths), and when PYTHON names a version that .venv has not.

version_of = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
$(READY): again
endif
ifneq ($(origin PYTHON),file)
WANTED := $(call version_of,'$(PYTHON)')
ifneq ($(WANTED),$(call version_of,$(BIN)/python))
$(UV_READY): again
endif
endif
# A .venv whose Python is gone (upgraded, uninstalled) is made again as well.
ifneq ($(shell test -x $(BIN)/python && echo sound),sound)
$(UV_READY): again
endif

# A sound .venv is kept, whoever made it; pip's file list is the last thing that making one writes.
$(UV_READY):
	@$(BIN)/python -c 'import sys; from importlib.metadata import files; v = sys.version_info; \
	  sys.exit(v < (3, 11) or not files("pip") or "$(WANTED)" not in ("", "%d.%d" % v[:2]))' 2>/dev/null || { \
	  '$(PYTHON)' -c '' 2>/dev/null || \
	    { echo '$(PYTHON) does not run: install Python 3.11 or newer, or name one: make PYTHON=python3.12'; exit 1; }; \
	  '$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$$('$(PYTHON)' --version 2>&1) is too old: install 3.11 or newer, or name one: make PYTHON=python3.12"; exit 1; }; \
	  '$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo '$(PYTHON) comes without venv: install it (Debian, Ubuntu: apt install python3-venv), then run make again'; exit 1; }; \
	  echo 'Making $(VENV)'; '$(PYTHON)' -m venv --clear $(VENV); }
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet uv==$(UV_VERSION)
	@touch $@

# An install that was cut short leaves .unfinished, and with it perhaps half a package: the next one reinstalls all.
# The second command builds this project with the backend that the first one installed, so nothing unlocked is fetched.
$(READY): requirements.lock pyproject.toml $(UV_READY)
	@if test -e $(VENV)/.unfinished; then again=--reinstall; else again=; fi; \
	rm -f $@ && touch $(VENV)/.unfinished && \
	$(UV) pip install --python $(BIN)/python $$again --require-hashes --no-deps -r requirements.lock && \
	$(UV) pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable . && \
	rm $(VENV)/.unfinished && pwd -P > $@ && \
	echo 'datagen lies in $(BIN): `. $(BIN)/activate` puts it on the PATH of this shell'
