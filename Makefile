# make demo: from nothing to a report in runs/demo.   make test: sets up and runs the tests.
PYTHON ?= python3
WORKDIR ?= runs/demo
PYTEST ?= -n 2 --dist loadfile
VENV := .venv
BENCH := .venv-bench
BIN := $(VENV)/bin

.PHONY: setup demo test test-slow lint bench results campaign clean
.DEFAULT_GOAL := setup

setup: $(VENV)/.installed

# A stamp, so that the second call costs nothing and a changed requirements file installs again.
$(VENV)/.installed: requirements-lock.txt requirements.txt requirements-dev.txt pyproject.toml
	$(call venv,$(VENV))
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements-lock.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/python launch.py --config=configs/mnist_cgan.py:demo --workdir=$(WORKDIR)

test: setup
	$(BIN)/python -m pytest -m "not slow" $(PYTEST)

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check
	$(BIN)/mypy

# Renders every table of docs/results and every figure of README from the committed rows.
results: setup
	$(BIN)/python -m docs.render

# The next unfinished long runs, at low priority, from a worktree of a fixed commit; `touch campaign/PAUSE` stops them.
campaign: setup
	$(BIN)/python -m campaign

# The peers live in an environment of their own: they are large, and the library never needs them.
bench: $(BENCH)/.installed
	$(BENCH)/bin/python -m benchmarks

$(BENCH)/.installed: requirements-bench.txt requirements.txt
	$(call venv,$(BENCH))
	$(BENCH)/bin/python -m pip install --disable-pip-version-check --quiet -r requirements.txt -r requirements-bench.txt
	touch $@

clean:
	rm -rf $(VENV) $(BENCH) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian and Ubuntu ship python3 without ensurepip (it is in python3-venv); the system's pip then fills the empty environment.
define venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@test -x $(1)/bin/python -a -e $(1)/pyvenv.cfg && $(1)/bin/python -m pip --version >/dev/null 2>&1 \
	  || $(PYTHON) -m venv $(1) 2>/dev/null \
	  || { $(PYTHON) -m venv --clear --without-pip $(1) && $(PYTHON) -m pip --python $(1)/bin/python install --quiet pip; }
endef
