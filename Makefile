# Everything from a fresh clone: `make demo` and `make test` set up .venv themselves. PYTHON chooses the interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOWEST := build/venv-lowest

.DEFAULT_GOAL := help
.PHONY: help venv judges demo test lint format test-slow test-lowest clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

venv: $(STAMP)  ## install audiovq and its test tools into .venv; instant when that is done

# Editable, so only a change of pyproject.toml asks for it again.
$(STAMP): pyproject.toml
	@test -x $(BIN)/uv || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "audiovq needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/uv || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) can't make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[test]'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[eval]' 2>/dev/null || \
	  echo 'pesq was not installed: it needs a C compiler and Python headers. PESQ scores and their tests are left out.'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python encodec transformers 2>/dev/null || \
	  echo 'encodec and transformers were not installed: the importers are tested on state dicts written by hand only.'
	@touch $@

# Left out of what the judges ask for: torchaudio, which may not load beside the torch that is here; a back-port of typing;
# and webrtcvad, which needs a compiler and has wheels under another name.
judges: venv  ## try to install the judges of `audiovq evaluate codec --judges`
	@mkdir -p build && printf "%s; sys_platform == 'none'\n" torchaudio typing webrtcvad > build/not-for-judges.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --override build/not-for-judges.txt --editable '.[eval,judges]' || \
	  echo 'some judges were not installed: evaluate leaves them out, and says so.'

demo: venv  ## encode and decode the packaged sample with the bundled model
	$(BIN)/audiovq demo --out build/demo

test: lint  ## lint, types and tests
	$(BIN)/python -m pytest

lint: venv  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv  ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-slow: venv  ## the tests that take longer
	$(BIN)/python -m pytest -m slow

test-lowest: venv  ## the tests on the oldest releases that pyproject.toml admits
	test -x $(LOWEST)/bin/python || $(BIN)/uv venv --quiet --python 3.11 $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[test]'
	$(LOWEST)/bin/python -m pytest

clean:  ## remove what was built, .venv too
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
