# Everything a developer does. Needs Python 3.11 or newer with venv, a C compiler and make; the rest goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
EXAMPLES := digits_dense digits_cnn
TOOLS := clang libclang-rt-dev gcc-arm-none-eabi libnewlib-arm-none-eabi gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf \
         qemu-system-arm qemu-system-misc

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint golden bench costs hostbench tables toolchain clean

help:  ## print these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The stamp is written last, so that an interrupted installation starts again from nothing.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say make PYTHON=...")'
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "Installing packages, about a minute ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)  ## compile the examples, run them on this machine, show accuracy and memory
	@for name in $(EXAMPLES); do \
	  from=examples/$$name; \
	  printf '\n== %s ==\n\n' $$name; \
	  $(BIN)/aot compile $$from/model.onnx --name $$name --data $$from/calib.npz -o build/$$name && \
	  $(BIN)/aot verify $$from/model.onnx --name $$name --calib $$from/calib.npz --data $$from/eval.npz || exit 1; \
	done

test: $(READY)  ## run all tests; those for boards need `make toolchain` once
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: $(READY)  ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/mypy

golden: $(READY)  ## write the generated code of today into tests/golden; look at the difference before a commit
	@$(BIN)/python -m pytest tests/golden --golden-refresh

bench: $(READY)  ## measure on emulated boards, compare with docs/bench.json (TARGET=cortex-m4: only that; ACCEPT=1: write it)
	@$(BIN)/python docs/bench.py $(if $(TARGET),--target $(TARGET)) $(if $(ACCEPT),--accept)

costs: $(READY)  ## fit the compiler's estimates (aot/costs.py) to layers measured on emulated boards
	@$(BIN)/python docs/costs.py

hostbench: $(READY)  ## time the generated C on this machine, beside others that are there: docs/host.md (ACCEPT=1: write it)
	@$(BIN)/python docs/host_bench.py $(if $(ACCEPT),--accept)

tables: $(READY)  ## write the numbers of docs/bench.json, and accuracy measured anew, into README.md and the examples
	@$(BIN)/python docs/tables.py

toolchain:  ## install the cross compilers and emulators that tests and bench use (Debian, Ubuntu; as root)
	@missing=$$(for p in $(TOOLS); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -z "$$missing" ]; then \
	  echo "All there: $(TOOLS)"; \
	elif ! command -v apt-get >/dev/null; then \
	  echo "This is not Debian or Ubuntu: install what your system calls" $$missing >&2; exit 1; \
	elif [ "$$(id -u)" != 0 ]; then \
	  echo "Root is needed for: apt-get install" $$missing >&2; echo "Say: sudo make toolchain" >&2; exit 1; \
	else \
	  echo "Installing" $$missing "..."; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	fi

clean:  ## remove everything that was made
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
