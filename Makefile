# Two commands do everything: `make demo` and `make test`. Each installs what is missing into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
WHEEL := .bootstrap/pip-26.3-py3-none-any.whl
CLAIMS := benchmarks.startup benchmarks.demo benchmarks.decode benchmarks.cohort benchmarks.serving \
	benchmarks.recall benchmarks.memory_scale benchmarks.society benchmarks.debate_speed benchmarks.live_society \
	"training.nursery.evaluate --n 500" benchmarks.improvement benchmarks.hacking benchmarks.learning \
	benchmarks.curriculum
export PYTHONUNBUFFERED := 1

.PHONY: demo test drills serve lint types layers check bench bench-env clean help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

demo: $(VENV)/.runtime ## Three people, their agents, two debates, one improvement: about two minutes
	@$(BIN)/folkmoot demo

serve: $(VENV)/.runtime ## Start the platform and keep it running
	@$(BIN)/folkmoot serve

test: $(VENV)/.develop lint types layers ## Lint, types, layers and all tests
	@$(BIN)/python -m pytest

drills: $(VENV)/.develop ## The long fault and attack drills; `make test` holds a short form of each
	@$(BIN)/python -m pytest --long --timeout 3600 tests/drills

lint: $(VENV)/.develop
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.develop
	@$(BIN)/mypy

layers: $(VENV)/.develop
	@$(BIN)/lint-imports

bench: $(VENV)/.develop .bench/.ready ## Print every figure that the README claims
	@failed=0; for claim in $(CLAIMS); do $(BIN)/python -m $$claim || failed=1; done; exit $$failed

bench-env: .bench/.ready ## Install the peers that some benchmarks run beside us, apart from our own environment

.bench/.ready: benchmarks/requirements.txt constraints.txt $(WHEEL)
	@echo "installing the peers (some minutes)"
	@$(PYTHON) -m venv --clear --without-pip .bench
	@.bench/bin/python $(WHEEL)/pip --disable-pip-version-check install --quiet --no-index $(WHEEL)
	@.bench/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --requirement benchmarks/requirements.txt
	@touch $@

clean: ## Remove the environment and caches; data folders stay
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A plain Debian python3 has no ensurepip, so that `venv` cannot bring pip along: the wheel beside us installs itself.
# The stamp comes last: an interrupted first run starts again.
$(VENV)/.pip: $(WHEEL)
	@echo "making $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit("Folkmoot needs Python 3.11 or newer, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv --clear --without-pip $(VENV)
	@$(BIN)/python $(WHEEL)/pip --disable-pip-version-check install --quiet --no-index $(WHEEL)
	@touch $@

$(VENV)/.runtime: $(VENV)/.pip pyproject.toml constraints.txt
	@echo "installing Folkmoot (a few minutes the first time)"
	@$(INSTALL) hatchling editables
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/.develop: $(VENV)/.runtime
	@echo "installing what the tests need"
	@$(INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@
