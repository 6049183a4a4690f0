# make demo      a live table becomes a DynamoDB table, on this machine, in some minutes
# make test      lint, types and the whole suite: what CI runs
# make bench     side by side with what people would use instead; writes docs/benchmarks.md
# make chaos     more SIGKILLs: make chaos SEED=7 N=200
# make lint      only ruff and mypy
# make lock      choose newer packages (UPGRADE=--upgrade) and lock them by hash
# make clean     remove what these made, but not your projects

PYTHON ?=
SEED ?= 1
N ?= 100
WORKERS ?= 2
export PYTHON

.PHONY: demo test bench chaos lint lock setup setup-tests clean

demo: setup
	.venv/bin/python -m demo.run

test: setup-tests lint
	.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal

bench: setup-tests
	.venv/bin/python -m benchmarks

chaos: setup-tests
	WHIMBREL_CHAOS_SEED=$(SEED) WHIMBREL_CHAOS_N=$(N) .venv/bin/python -m pytest -m chaos -s

lint: setup-tests
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

lock:
	scripts/lock $(UPGRADE)

setup:
	@scripts/setup demo

setup-tests:
	@scripts/setup tests

clean:
	rm -rf .venv .servers .demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
