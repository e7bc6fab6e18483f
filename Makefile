# Two commands matter: `make run` and `make test`. Both set themselves up.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
TORCH  ?=
# TORCH=cpu, or another --torch-backend of uv: a build of PyTorch that is not the lock's. Untested.

.PHONY: run test test-fast test-slow test-torture format clean

run: $(VENV)/.lab  ## pretrain, fine-tune, GRPO, measure, and say what RL did (ARGS="--seed 1" passes options on)
	$(BIN)/goldpanner run $(ARGS)

test: $(VENV)/.dev $(VENV)/.core  ## format, lint, types, import contracts, tests; the instrument's also without torch
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2
	$(VENV)/core/bin/pytest -n 2 $(CORE_TESTS)

test-fast: $(VENV)/.dev  ## the instrument's tests alone, under a minute
	$(BIN)/pytest -n 2 $(CORE_TESTS)

# What runs with `pip install .` alone.
CORE_TESTS := $(addprefix tests/test_,$(addsuffix .py,instrument_cli compare passk plan metrics sources second_judge groups)) \
	$(addprefix tests/interop/test_,$(addsuffix .py,row_formats registry))

test-slow: $(VENV)/.dev  ## the simulations that take minutes
	$(BIN)/pytest -m slow

test-torture: $(VENV)/.dev  ## ten minutes of kills, flipped bits, hostile completions, little memory, full disks
	nice -n 19 $(BIN)/python benchmarks/torture.py $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "goldpanner needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv

# The environment follows the lock file exactly; the hashes are checked.
$(VENV)/.lab: requirements.lock pyproject.toml | $(BIN)/uv
ifeq ($(TORCH),)
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
else
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --torch-backend $(TORCH) '.[lab]'
endif
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements-dev.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps -e .
	@touch $@ $(VENV)/.lab

$(VENV)/.core: requirements-core.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(VENV)/core
	VIRTUAL_ENV=$(VENV)/core $(BIN)/uv pip install --quiet --require-hashes -r requirements-core.lock
	VIRTUAL_ENV=$(VENV)/core $(BIN)/uv pip install --quiet --no-deps -e .
	@touch $@

# After changing dependencies in pyproject.toml: write the locks anew.
EXTRAS := lab inspect math trl server smollm2 lora ray frames
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml
.PHONY: lock
lock: | $(BIN)/uv
	$(BIN)/uv pip compile $(LOCK) $(addprefix --extra ,$(EXTRAS)) --group dev -o requirements-dev.lock
	$(BIN)/uv pip compile $(LOCK) --extra lab -c requirements-dev.lock -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) --group core -c requirements-dev.lock -o requirements-core.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
