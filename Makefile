# make demo      a live table becomes a DynamoDB table, on this machine, in some minutes
# make demo-aws  the same by stand-ins for Kinesis, Lambda and DynamoDB, in a minute
# make demo-predict   SQL, a model, an endpoint and its renewal over such a table, in a minute; DATA=FILE takes the original, ENGINE=aws has the lake in S3, model and endpoint on SageMaker, by stand-ins
# make demo-warehouse   two live databases in one warehouse, SQL over both and a page of reports, in two minutes
# make playground   a private MariaDB and a local DynamoDB, and a shell to try whimbrel in: the tutorial begins there
# make test      lint, types and the whole suite: what CI runs; WORKERS=n processes, three for two cores as servers are waited for
# make test-all  also the slow ones: memory at large tables, every combination of servers, figures on the original data
# make bench     side by side with what people would use instead; writes docs/benchmarks.md
# make chaos     kills, outages and faults on both sides in every phase, by a seed: make chaos SEED=7 N=200; BY_WORKERS=1 loads, applies and verifies by workers
# make mutants   mutation testing of the core by tests that need no server; goes on where it was: MUTANTS="checkpoint changelog", ONLY='*[27]'
# make fuzz      coverage-guided fuzzing of every reader of bytes, SECONDS=60 each; NAMES="item binlog" for some of them; and answers of real servers that are changed on their way: N=200
# make coverage  the suite again, counting the lines and branches of src that it runs, in all processes; fails below the floors: TESTS=tests/mapping
# make docs      the site of docs/, into .docs/site: no page asks another server for anything; fails at a link that leads nowhere
# make test-docs  the site, and every page of it: what it says to type is typed, what it shows is compared; some minutes
# make lint      only ruff and mypy
# make lock      choose newer packages (UPGRADE=--upgrade) and lock them by hash
# make clean     remove what these made, but not your projects

PYTHON ?=
SEED ?= 1
N ?= 100
DATA ?=
ENGINE ?=
WORKERS ?= 3
SECONDS ?= 60
NAMES ?=
MUTANTS ?=
ONLY ?=
TESTS ?=
export PYTHON
# The suite starts whimbrel hundreds of times: each would compile all of it, and its libraries, for itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-aws demo-predict demo-warehouse playground test test-all suite bench chaos mutants fuzz coverage docs test-docs lint lock setup setup-aws setup-predict setup-warehouse setup-tests setup-all clean

demo: setup
	.venv/bin/python -m demo.run

demo-aws: setup-aws
	.venv/bin/python -m demo.aws

demo-predict: setup-predict
	.venv/bin/python -m demo.predict $(if $(DATA),--data $(DATA)) $(if $(ENGINE),--engine $(ENGINE))

demo-warehouse: setup-warehouse
	.venv/bin/python -m demo.warehouse

playground: setup
	@.venv/bin/python -m demo.playground

test: setup-tests
	@$(MAKE) --no-print-directory -j2 lint suite WORKERS=$(WORKERS)

test-all: setup-all lint
	.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal

# In a new checkout one process compiles everything first, beside lint: three would each do so at the same time.
suite:
	@[ -d tests/__pycache__ ] || .venv/bin/python -m pytest --collect-only -q >/dev/null || true
	.venv/bin/python -m pytest -m "not slow" -n $(WORKERS) --dist worksteal

bench: setup-tests
	.venv/bin/python -m benchmarks

chaos: setup-tests
	WHIMBREL_CHAOS_SEED=$(SEED) WHIMBREL_CHAOS_N=$(N) WHIMBREL_SEED=$(SEED) WHIMBREL_STATEMENTS=$(N) WHIMBREL_TEST_WORKERS=$(BY_WORKERS) .venv/bin/python -m pytest -m chaos -s

mutants: setup-tests
	.venv/bin/python scripts/mutants $(if $(ONLY),--only '$(ONLY)') $(MUTANTS)

fuzz: setup-tests
	.venv/bin/python -m pip install -qq --require-hashes --only-binary :all: -r requirements/fuzz.txt
	.venv/bin/python -m tests.fuzz.campaign $(NAMES) --seconds $(SECONDS)
	WHIMBREL_FUZZ_SEEDS=$(or $(N),200) .venv/bin/python -m pytest tests/fuzz/test_any_server.py -n $(WORKERS) --dist worksteal

coverage: setup-tests
	rm -f .coverage .coverage.*
	.venv/bin/coverage run -m pytest -m "not slow" -n $(WORKERS) --dist worksteal $(TESTS)
	.venv/bin/coverage combine -q
	.venv/bin/coverage json -q -o .coverage.json
	scripts/coverage-floors .coverage.json

docs:
	@scripts/site

# In playgrounds of its own, so it needs what a demo needs.
test-docs: setup-tests docs
	.venv/bin/python -m pytest tests/test_docs.py tests/docs -n $(WORKERS) --dist worksteal

lint: setup-tests
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

lock:
	scripts/lock $(UPGRADE)

setup:
	@scripts/setup demo

setup-aws:
	@scripts/setup aws

setup-predict:
	@scripts/setup predict

setup-warehouse:
	@scripts/setup warehouse

setup-tests:
	@scripts/setup tests

setup-all:
	@scripts/setup all

clean:
	rm -rf .venv .linters .servers .demo .playground .docs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz .coverage .coverage.* src/*.egg-info
