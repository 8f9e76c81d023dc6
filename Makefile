# `make advise` and `make test` each work alone on a fresh clone, with nothing but Python and make.
PYTHON ?= python3
BIN := .venv/bin
TASK ?= digits-mlp
OUT ?= critbatch-out/$(TASK)
export CRITBATCH_DATA ?= $(CURDIR)/data

.PHONY: advise test test-unit lint docs data fuzz torture bench browser clean

advise: .venv/installed  ## The main job: which batch size, with which learning rate? TASK=mnist-mlp for another task.
	$(BIN)/critbatch advise $(TASK) --out $(OUT)

test: .venv/test browser  ## All tests.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-unit: .venv/test  ## The unit tests alone: no browser, no other processes.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/unit -m "not slow"

lint: .venv/lint  ## Style, types and docs.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/sphinx-build -W -q -b html docs docs/_build

data: .venv/installed  ## Fill data/: from the network, or from a folder with FROM=folder.
	$(BIN)/python -m critbatch.tasks.prepare_data --to data $(if $(FROM),--from $(FROM))

fuzz: .venv/test  ## 20,000 damaged, odd or hostile inputs, new ones each time.
	OMP_NUM_THREADS=1 CRITBATCH_FUZZ_INPUTS=20000 $(BIN)/python -m pytest -n 2 tests/integration/test_fuzz.py

torture: .venv/test  ## 200 kills, stops and shortages at random moments. SEED=1 for other moments.
	OMP_NUM_THREADS=1 CRITBATCH_TORTURE_FAULTS=200 CRITBATCH_TORTURE_SEED=$(or $(SEED),0) \
		$(BIN)/python -m pytest -s tests/integration/test_torture.py

bench: .venv/test  ## The benchmarks whose results are in benchmarks/results/.
	$(BIN)/python benchmarks/overhead.py

browser:
	scripts/install-browser

# Torch goes first and by its pinned version: left to the resolver, it may bring gigabytes of CUDA.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/test: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

.venv/lint: .venv/test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[lint,docs]'
	touch $@

clean:
	rm -rf .venv docs/_build critbatch-out
