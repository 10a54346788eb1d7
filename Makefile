# What one types in a checkout. Needs make (3.81 is enough) and a Python; the rest goes into .venv.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Its content is the checkout's place: an environment that was moved or copied along does not work. Behind it stands
# whether it is one for CUDA.
STAMP := $(VENV)/.installed
INSTALLED := $(shell cat $(STAMP) 2>/dev/null)

# CUDA=1 and CUDA=0 count; what is said once holds until the other is said. An environment variable of that name may
# mean anything, such as where the toolkit is.
ifeq ($(origin CUDA),command line)
ifeq ($(filter 0 1,$(CUDA)),)
$(error CUDA=$(CUDA) means nothing here: CUDA=1 installs for NVIDIA GPUs too, CUDA=0 for the CPU alone)
endif
else
CUDA := $(if $(filter CUDA=1,$(lastword $(INSTALLED))),1,0)
endif
ifeq ($(CUDA),1)
WITH_CUDA := CUDA=1
WANTED := $(CURDIR) $(WITH_CUDA)
EXTRAS := dev,cuda
# Settings, not CMAKE_ARGS: uv's cache keeps wheels that were built with other settings apart.
FOR_CUDA = --override $(VENV)/cuda-overrides.txt \
  --config-settings-package llama-cpp-python:cmake.define.GGML_CUDA=on \
  --config-settings-package "llama-cpp-python:cmake.define.CMAKE_SHARED_LINKER_FLAGS=-Wl,-rpath,$$cuda_libraries"
LONG := 20 minutes or more on two idle cores, a few on many
else
WITH_CUDA :=
WANTED := $(CURDIR)
EXTRAS := dev
FOR_CUDA :=
LONG := 4 minutes on two idle cores
endif

# If python3 is too old there may be a newer one beside it; one that was asked for by name is not replaced.
ifeq ($(origin PYTHON),file)
PYTHONS := $(PYTHON) python3.13 python3.12 python3.11
else
PYTHONS := $(PYTHON)
endif

# Fast ones first: what is broken shows soon.
FAST := tests/test_architecture.py tests/pipeline tests/machine tests/wire
# By themselves: they talk in real time, or decode speech that has to sound the same every time.
ALONE := tests/engines/test_pocketsphinx.py
SLOW := $(ALONE) tests/e2e tests/conformance
OTHERS := $(filter-out $(FAST) $(SLOW) tests/__pycache__,$(wildcard tests/test_*.py) $(patsubst %/,%,$(wildcard tests/*/)))
# With ARGS="-k ..." there may be none in one of the two parts: pytest ends with 5.
OR_NONE := || [ $$? = 5 ]

.DEFAULT_GOAL := help
.PHONY: help setup serve docs test conformance

help:
	@echo 'make serve   set up, and start the server on 127.0.0.1:8765; options: make serve ARGS="--port 9000"'
	@echo 'make setup   only set up: .venv with everything in it (the first time 5 minutes or more)'
	@echo 'make test    set up, and check everything: style, types, tests'
	@echo 'make conformance   try every foreign client that docs/clients.md lists; fetches about 1 GB the first time'
	@echo 'make docs    write the documents that are made from the code'
	@echo
	@echo 'PYTHON=...   the Python to set up with, 3.11 or newer (now: $(PYTHON))'
	@echo 'CUDA=1       set up for NVIDIA GPUs too, from now on; CUDA=0: for the CPU alone (now: $(CUDA))'

setup: $(STAMP)

serve: setup
	@$(BIN)/parley serve $(ARGS)

docs: setup
	$(BIN)/python -m scripts.make_docs

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile $(wildcard $(FAST)) $(OTHERS) $(ALONE:%=--ignore %) $(ARGS) $(OR_NONE)
	$(BIN)/pytest $(wildcard $(SLOW)) $(ARGS) $(OR_NONE)

conformance: setup
	PARLEY_CONFORMANCE=1 $(BIN)/pytest tests/conformance $(ARGS)

ifneq ($(INSTALLED),$(WANTED))
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml
	@$(if $(WITH_CUDA),$(check_cuda))
	@rm -f $(STAMP)
	@$(find_python); $(make_environment)
	@$(clear_the_way)
	@$(check_compiler); $(if $(WITH_CUDA),$(find_nvcc);) $(install)
	@printf '%s' '$(WANTED)' > $(STAMP)
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

# NVIDIA's compiler is looked for where CMake looks, and where NVIDIA's installer puts it; its libraries lie beside it.
define find_nvcc
CUDACXX="$$(command -v "$${CUDACXX:-nvcc}" || echo "$${CUDACXX:-/usr/local/cuda/bin/nvcc}")"; export CUDACXX; \
cuda_libraries="$$(dirname "$$(dirname "$$(readlink -f "$$CUDACXX")")")/lib64"
endef

define check_cuda
$(find_nvcc); \
if [ "$$(uname -s)" != Linux ]; then \
  echo 'CUDA=1 is for Linux (on Windows: in WSL 2) and NVIDIA GPUs. Without it: make setup CUDA=0' >&2; exit 1; \
fi; \
if ! echo '#include <cublas_v2.h>' | "$$CUDACXX" -E -x cu - >/dev/null 2>&1; then \
  if "$$CUDACXX" --version >/dev/null 2>&1; then lacks="the CUDA toolkit of $$CUDACXX lacks cuBLAS"; \
  else lacks="$$CUDACXX is no compiler for it"; fi; \
  echo "CUDA=1 needs NVIDIA's CUDA toolkit, to build llama.cpp for the GPU, and $$lacks." >&2; \
  echo 'Install all of it, 12.4 or newer (https://developer.nvidia.com/cuda-downloads), or name yours:' >&2; \
  echo 'make setup CUDA=1 CUDACXX=/path/to/nvcc. Without it: make setup CUDA=0' >&2; exit 1; \
fi; \
case "$$CMAKE_ARGS" in *CUDA_ARCHITECTURES*) ;; *) \
  if ! nvidia-smi -L 2>/dev/null | grep -q GPU; then \
    echo 'CUDA=1 builds llama.cpp for the GPU of this machine, and nvidia-smi lists none.' >&2; \
    echo "Install NVIDIA's driver, 580 or newer, or say what is to be built for, such as 90 for an H100 or H200:" >&2; \
    echo 'make setup CUDA=1 CMAKE_ARGS=-DCMAKE_CUDA_ARCHITECTURES=90. Without it: make setup CUDA=0' >&2; exit 1; \
  fi;; \
esac
endef

# Takes away what was installed for the other setting of CUDA. onnxruntime and onnxruntime-gpu bring the same files:
# whichever goes takes some of the other's along, so both go. llama.cpp is built for the one or the other.
define clear_the_way
has() { $(BIN)/python -m pip --disable-pip-version-check list --format=freeze 2>/dev/null | sed 's/==.*//' | grep -x "$$1"; }; \
away=; built=0; \
if ls $(VENV)/lib*/python*/site-packages/llama_cpp/lib/libggml-cuda.* >/dev/null 2>&1; then built=1; fi; \
if [ $$built != $(CUDA) ]; then away="$$(has 'llama[_-]cpp[_-]python')"; fi; \
if has '$(if $(WITH_CUDA),onnxruntime,onnxruntime-gpu)' >/dev/null; then away="$$away onnxruntime onnxruntime-gpu"; fi; \
if [ $(CUDA) = 0 ]; then away="$$away $$(has 'nvidia-[a-z0-9-]*')"; fi; \
away="$$(echo $$away)"; \
if [ -n "$$away" ]; then \
  echo "Removing what was installed for CUDA=$(if $(WITH_CUDA),0,1): $$away ..."; \
  $(BIN)/python -m pip --disable-pip-version-check uninstall -qq --yes $$away || exit 1; \
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
  echo 'Installing Parley. The first time llama.cpp is built for this machine: $(LONG).'; \
else \
  echo 'Installing Parley ...'; \
fi; \
ticker=; \
if [ ! -t 2 ]; then \
  (waited=0; while sleep 20 >/dev/null 2>&1; do waited=$$((waited + 20)); echo "  still at it after $$waited s"; done) & \
  ticker=$$!; \
  trap 'kill $$ticker 2>/dev/null' EXIT; trap 'exit 130' INT TERM; \
fi; \
$(if $(WITH_CUDA),echo "onnxruntime ; sys_platform == 'never'" > $(VENV)/cuda-overrides.txt;) \
$(BIN)/uv pip install --python $(BIN)/python $(FOR_CUDA) --editable '.[$(EXTRAS)]' || { \
  echo 'The installation failed; the reason stands above. make setup$(if $(WITH_CUDA), $(WITH_CUDA)) takes up where it stopped.' >&2; exit 1; }
endef
