# What one types in a checkout. Needs make (3.81 is enough) and a Python; the rest goes into .venv.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Its content is the checkout's place: an environment that was moved or copied along does not work.
STAMP := $(VENV)/.installed

# If python3 is too old there may be a newer one beside it; one that was asked for by name is not replaced.
ifeq ($(origin PYTHON),file)
PYTHONS := $(PYTHON) python3.13 python3.12 python3.11
else
PYTHONS := $(PYTHON)
endif

# Fast ones first: what is broken shows soon.
FAST := tests/test_architecture.py tests/pipeline tests/machine tests/wire
SLOW := tests/e2e
OTHERS := $(filter-out $(FAST) $(SLOW) tests/__pycache__,$(wildcard tests/test_*.py) $(patsubst %/,%,$(wildcard tests/*/)))
TESTS := $(wildcard $(FAST)) $(OTHERS) $(wildcard $(SLOW))

.DEFAULT_GOAL := help
.PHONY: help setup serve test

help:
	@echo 'make serve   set up, and start the server on 127.0.0.1:8765; options: make serve ARGS="--port 9000"'
	@echo 'make setup   only set up: .venv with everything in it (the first time 5 minutes or more)'
	@echo 'make test    set up, and check everything: style, types, tests'
	@echo
	@echo 'PYTHON=...   the Python to set up with, 3.11 or newer (now: $(PYTHON))'

setup: $(STAMP)

serve: setup
	@$(BIN)/parley serve $(ARGS)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(TESTS) $(ARGS)

ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml
	@rm -f $(STAMP)
	@$(find_python); $(make_environment)
	@$(check_compiler); $(install)
	@printf '%s' '$(CURDIR)' > $(STAMP)
	@echo 'Parley is installed in $(VENV).'

define find_python
python=; \
for each in $(PYTHONS); do \
  if "$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$each"; break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "Parley needs Python 3.11 or newer. Here: $$($(PYTHON) --version 2>&1 || true)" >&2; \
  echo 'Install one, or say where it is: make setup PYTHON=/path/to/python3.12' >&2; \
  exit 1; \
fi
endef

define make_environment
if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  || [ "$$($(BIN)/python -c 'import sys; print(sys.prefix)')" != '$(CURDIR)/$(VENV)' ]; then \
  if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
    echo "$$python lacks the modules venv and ensurepip. On Debian or Ubuntu: apt install python3-venv" >&2; \
    exit 1; \
  fi; \
  echo "Making the environment $(VENV) with $$("$$python" --version) ..."; \
  "$$python" -m venv --clear $(VENV) || exit 1; \
fi
endef

define check_compiler
if ! $(BIN)/python -c 'import llama_cpp' 2>/dev/null && ! $${CXX:-c++} --version >/dev/null 2>&1; then \
  echo "Parley needs a C++ compiler, to build llama.cpp for this machine, and $${CXX:-c++} is none." >&2; \
  echo 'Install one (Debian, Ubuntu: apt install build-essential; Fedora: dnf install gcc-c++; macOS:' >&2; \
  echo 'xcode-select --install), or name yours: make setup CC=clang CXX=clang++' >&2; \
  exit 1; \
fi
endef

# uv, because only uv can leave out a dependency that a package declares without needing it (torch: see [tool.uv] in
# pyproject.toml). It shows its progress on a terminal; in a log a line tells every 20 s that it still works.
define install
if [ ! -x $(BIN)/uv ]; then \
  echo 'Installing uv, which installs the rest ...'; \
  $(BIN)/python -m pip install --quiet --disable-pip-version-check uv || exit 1; \
fi; \
if ! $(BIN)/python -c 'import llama_cpp' 2>/dev/null; then \
  echo 'Installing Parley. The first time llama.cpp is built for this machine: 4 minutes on two idle cores.'; \
else \
  echo 'Installing Parley ...'; \
fi; \
ticker=; \
if [ ! -t 2 ]; then \
  (waited=0; while sleep 20 >/dev/null 2>&1; do waited=$$((waited + 20)); echo "  still at it after $$waited s"; done) & \
  ticker=$$!; \
  trap 'kill $$ticker 2>/dev/null' EXIT; trap 'exit 130' INT TERM; \
fi; \
$(BIN)/uv pip install --python $(BIN)/python --editable '.[dev]' || { \
  echo 'The installation failed; the reason stands above. make setup takes up where it stopped.' >&2; exit 1; }
endef
