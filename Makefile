# Everything one does with a clone. `make` alone lists it. Nothing here touches a database server that somebody runs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
RUN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
ARGS ?=
PYTEST_ARGS ?=
# Most tests wait for servers and processes, so one more of them runs at a time than there are cores, but no more than six: each has
# servers of its own, for which it takes a gigabyte. Which files begin is said in tests/conftest.py: the longest. By itself xdist takes
# the files with the fewest tests last, and those are the long ones.
JOBS ?= $(shell n=$$(( $$(nproc) + 1 )); echo $$(( n > 6 ? 6 : n < 3 ? 3 : n )))

# Debian splits ensurepip off into a package of its own; where it is missing the system's pip fills the environment instead.
PIP = $$([ -e $(RUN)/pip ] && echo "$(RUN)/python -m pip" || echo "$(PYTHON) -m pip --python $(RUN)/python") --disable-pip-version-check
SOURCES := pyproject.toml setup.py $(wildcard src/headwater/wire/*.py)

.PHONY: help setup demo test check soak bench lock format clean postgresql mariadb mysql

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-7s %s\n' "$$name" "$$text"; done

setup: $(VENV)/.dev ## Make .venv with everything that development needs, from the lock file

demo: $(VENV)/.demo ## Watch the main job between two private servers (ARGS="--once --target mariadb": ends by itself, into MariaDB)
	@$(RUN)/headwater demo $(ARGS)

test: setup postgresql mariadb mysql check ## Check, then run all tests on real, private servers (JOBS=..., PYTEST_ARGS=...)
	@echo "==> pytest"
	@$(RUN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: $(VENV)/.dev ## Lint, types, import contracts, references in the documentation
	@echo "==> ruff";         $(RUN)/ruff check --quiet .
	@echo "==> ruff format";  $(RUN)/ruff format --quiet --diff .
	@echo "==> mypy";         $(RUN)/mypy
	@echo "==> import-linter"; $(RUN)/lint-imports >$(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	@echo "==> documentation"; $(RUN)/python -m pytest -q --no-header tests/docs/test_references.py

soak: $(VENV)/.dev postgresql mariadb mysql ## Faults at random for a long time (ARGS="--minutes 30 --pair mysql-mariadb"; minutes are per plan)
	@$(RUN)/python -m tests.crash.soak $(ARGS)

bench: $(VENV)/.dev postgresql ## Measure against the ratios to reach; results go to bench/results
	@$(RUN)/python -m bench $(ARGS)

format: $(VENV)/.dev ## Format the code and sort the imports
	@$(RUN)/ruff check --quiet --fix . && $(RUN)/ruff format --quiet .

COMPILE = CUSTOM_COMPILE_COMMAND="make lock" $(RUN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --build-deps-for wheel

lock: $(VENV)/.dev ## Resolve the lock files anew: versions and hashes, no addresses (minutes; LOCK_ARGS=--upgrade for newer versions)
	@$(COMPILE) $(LOCK_ARGS) --extra demo --output-file requirements.txt pyproject.toml
	@$(COMPILE) $(LOCK_ARGS) --extra demo --extra test --extra dev --output-file requirements-dev.txt pyproject.toml
	@! grep -nE '://|^ *--?(index|extra|find|trusted)|^-[if]' requirements*.txt || { echo "a lock file holds an address"; exit 1; }

clean: ## Remove everything that was made here
	@rm -rf $(VENV) .cache build .ruff_cache src/headwater.egg-info
	@find src -name '*.so' -delete

$(RUN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or later is needed, and was not found."; exit 1; }
	@echo "==> $(VENV): a virtual environment of $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV); }

$(VENV)/.demo: requirements.txt $(SOURCES) | $(RUN)/python
	@echo "==> $(VENV): packages of requirements.txt (versions and hashes are pinned)"
	@$(PIP) install --quiet --require-hashes --requirement requirements.txt
	@$(INSTALL_SELF)
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(SOURCES) | $(RUN)/python
	@echo "==> $(VENV): packages of requirements-dev.txt (versions and hashes are pinned)"
	@$(PIP) install --quiet --require-hashes --requirement requirements-dev.txt
	@$(INSTALL_SELF)
	@touch $@ $(VENV)/.demo

define INSTALL_SELF
echo "==> $(VENV): headwater itself, from this directory"; \
$(PIP) install --quiet --no-deps --no-build-isolation --editable .; \
ls src/headwater/wire/*.so >/dev/null 2>&1 && echo "    with the compiled decoder" \
	|| echo "    without a compiled decoder (no C compiler or Python headers here): works the same, reads slower"
endef

# The tests run on the oldest and the newest PostgreSQL at hand. The newest comes with the wheel; Debian's is the older one.
# Debian's packages would start servers of their own on installation: they are told not to before they come.
postgresql:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { $(ADD_POSTGRESQL); } || { \
		echo "!!! Debian's PostgreSQL is missing and can't be installed here (that takes apt-get, and root or sudo)."; \
		echo "!!! The tests run on the servers of the wheel only: $$($(RUN)/python -c \
			'from headwater.clusters import find_postgres as f; print(*(i.name for i in f()))')."; }

mariadb:
	@ls /usr/sbin/mariadbd /usr/bin/mariadb-install-db /usr/bin/mariadb-binlog >/dev/null 2>&1 || { $(ADD_MARIADB); } || { \
		echo "!!! Debian's MariaDB is missing and can't be installed here (that takes apt-get, and root or sudo)."; \
		echo "!!! The tests that need it are skipped; their count stands at the end of the run."; }

# Says itself what it does, and where it fails: the tests run without it.
mysql: $(VENV)/.dev
	@$(RUN)/python -m headwater.clusters.fetch_servers || true

AS_ROOT = command -v apt-get >/dev/null && { [ "$$(id -u)" = 0 ] && as_root="" || { sudo -n true 2>/dev/null && as_root="sudo -n"; }; }
INSTALL = env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get install -qq -y --no-install-recommends

define ADD_POSTGRESQL
$(AS_ROOT) && \
echo "==> installing Debian's package 'postgresql' for the tests: binaries only, no server is started" && \
$$as_root mkdir -p /etc/postgresql-common && \
{ [ -e /etc/postgresql-common/createcluster.conf ] || \
	echo "create_main_cluster = false" | $$as_root tee /etc/postgresql-common/createcluster.conf >/dev/null; } && \
$$as_root apt-get update -qq && \
$$as_root $(INSTALL) postgresql >/dev/null
endef

# The package has no switch like PostgreSQL's. It starts its server through policy-rc.d, which may refuse: one of ours stands there
# while the package is installed, unless the machine has its own.
define ADD_MARIADB
$(AS_ROOT) && \
echo "==> installing Debian's package 'mariadb-server' for the tests: binaries only, no server is started" && \
$$as_root apt-get update -qq && \
{ [ -e /usr/sbin/policy-rc.d ] || { ours=/usr/sbin/policy-rc.d && printf '#!/bin/sh\nexit 101\n' | $$as_root tee $$ours >/dev/null && \
	$$as_root chmod 755 $$ours && trap "$$as_root rm -f $$ours" EXIT; }; } && \
$$as_root $(INSTALL) mariadb-server >/dev/null
endef
