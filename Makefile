# One verb each. Python 3.11+, git and make are all that must be there: every verb makes the venv it needs.

PYTHON ?= python3
VENV   ?= .venv
# What the oracle builds its two environments with: MaxText needs 3.12.
ORACLE_PYTHON ?= python3.12
# What the environments of old releases of flax are built with: they know nothing newer.
OLD_PYTHON ?= python3.11
# More arguments for pytest (`make test ARGS='-k path'`), the benchmarks or the oracle.
ARGS   ?=

# In an empty environment there is no PATH, and Python cannot find itself.
PATH   ?= /usr/local/bin:/usr/bin:/bin
export PATH

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint type bench docs oracle decoders readers old-writers format clean

RUN := $(VENV)/bin/python -m

help:  ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv-demo/.ready  ## train a small model, save it, convert it both ways and verify (in build/demo)
	rm -rf build/demo
	mkdir -p build
	.venv-demo/bin/linen-nnx demo build/demo

test: $(VENV)/.browser  ## run the tests on all cores
	$(RUN) pytest -n auto --dist worksteal $(ARGS)

check: lint type test  ## all that CI runs

lint: $(VENV)/.ready  ## ruff: rules and formatting, nothing changed
	$(RUN) ruff check .
	$(RUN) ruff format --check .

type: $(VENV)/.ready  ## mypy, strict
	$(RUN) mypy linen_nnx tests benchmarks docs

bench: $(VENV)/.ready  ## run the benchmarks
	$(RUN) benchmarks.run $(ARGS)

docs: .venv-docs/.ready  ## build the manual (in build/docs)
	.venv-docs/bin/python -m mkdocs build --strict --site-dir build/docs

oracle: $(VENV)/.ready  ## train, convert and resume with MaxText itself (Python 3.12, 5 GB, minutes)
	$(RUN) tests.oracle --python '$(ORACLE_PYTHON)' $(ARGS)

decoders: $(VENV)/.ready  ## ask MaxText what its decoders hold, and keep it as test data (the oracle's environments)
	$(RUN) tests.decoders --python '$(ORACLE_PYTHON)' $(ARGS)

old-writers: $(VENV)/.ready  ## write test data with flax 0.8.5, 0.10.2, 0.10.7 and 0.11.2 (Python 3.11, 2 GB, minutes)
	$(RUN) tests.old --python '$(OLD_PYTHON)' $(ARGS)

readers: $(VENV)/.ready  ## let other releases of orbax read what we write (environments of their own)
	$(RUN) tests.readers $(ARGS)

format: $(VENV)/.ready  ## mend what ruff can mend, and format
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

clean:  ## remove all that these verbs made
	rm -rf build dist .venv .venv-demo .venv-docs .venv-oracle-* .venv-readers-* .venv-old-* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The same on a machine with an accelerator as on one without.
demo test bench readers: export JAX_PLATFORMS := cpu

# The venvs. `.ready` is the stamp: newer than pyproject.toml, so nothing is installed twice. Installs are
# editable, so the sources may change under a ready venv.
$(VENV)/.ready: EXTRA := dev
.venv-demo/.ready: EXTRA := flax
.venv-docs/.ready: EXTRA := docs

CAN_SERVE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

$(VENV)/.ready .venv-demo/.ready .venv-docs/.ready: pyproject.toml
	@for python in '$(PYTHON)' python3.11 python3.12 python3.13; do \
	  if "$$python" -c '$(CAN_SERVE)' >/dev/null 2>&1; then \
	    echo "setting up $(@D) with $$python"; \
	    exec "$$python" -m venv $(@D); \
	  fi; \
	done; \
	echo "linen-nnx needs Python 3.11 or newer with its venv module; '$(PYTHON)' is not such a one, and there" \
	  "is no python3.11, python3.12 or python3.13." >&2; \
	echo "hint: install one (on Debian and Ubuntu with python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRA)]'
	@touch $@

# The page of `report` is tested in a real Chromium: the machine's own, else one that is installed now.
$(VENV)/.browser: $(VENV)/.ready
	$(RUN) tests.page.browser
	@touch $@
