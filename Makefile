# Molecatcher: `make run` and `make test` do all their own set-up on Debian with Python 3.11+ and root.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The distribution's Python first: the run-time user must be able to read it, which one under /root would not allow.
PYTHON ?= $(shell for p in /usr/bin/python3 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo || echo "sh -c 'echo Set-up needs root: run make as root or install sudo >&2; exit 1'")
ARGS ?=
# Many tests wait for real programs more than they compute.
SIDE_BY_SIDE := -n 2 --dist loadfile
RUN_PACKAGES := libbpf1 python3-venv util-linux
# Node's own packages bring npm and refuse the distribution's.
NPM := $(shell command -v npm >/dev/null || echo npm)
TEST_PACKAGES := bind9 chromium chromium-driver clang crowdsec-custom-bouncer crowdsec-firewall-bouncer curl dnsmasq-base fonts-dejavu-core gcc git haproxy iproute2 ipset iptables \
	knot knot-resolver libbpf-dev libc6-dev llvm lua-cqueues nftables nsd openssh-client openssl pdns-recursor prometheus python3-dev skopeo squid syslog-ng-core systemd tcpdump tshark udhcpc unbound wget $(NPM)
TIMED := timeout 3600
BPF := sensor/capture/bpf/flow_heads.bpf

.PHONY: help setup run test test-full soak lint format lock bench bench-setup bench-offline bench-live bench-scaling bench-stages bench-steps bpf user
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(VENV)/.compiled user ## Install system packages, the service user and .venv with the locked dependencies

run: setup ## Start sensor, API and page (ARGS="--interface eth0 ..." passes options)
	$(BIN)/molecatcher run $(ARGS)

test: $(VENV)/.dev $(VENV)/.npm $(VENV)/.compiled user ## Run the tests (under 15 minutes on 2 cores)
	$(BIN)/pytest -m "not full and not soak" $(or $(ARGS),$(SIDE_BY_SIDE))
	$(if $(ARGS),,MOLECATCHER_PURE_PYTHON=1 $(BIN)/pytest $(SIDE_BY_SIDE) -m "not full and not soak" tests/rules tests/sensor/test_*.py tests/sensor/{decoding,detection,extract,flows,names,reporting} tests/sensor/capture/test_copies.py tests/test_captures.py)

test-full: $(VENV)/.dev $(VENV)/.npm $(VENV)/.compiled user ## Run the long tests (under 60 minutes)
	$(BIN)/pytest -m full $(or $(ARGS),$(SIDE_BY_SIDE))

soak: $(VENV)/.dev $(VENV)/.npm $(VENV)/.compiled user ## Run what takes longer still
	$(BIN)/pytest -m soak $(ARGS)

lint: $(VENV)/.dev ## Check style, types and the boundaries between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests bench
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix . || true
	$(BIN)/ruff format .

# What a part is given with QUICK=1, to see in a few minutes that each of them runs.
quick = $(if $(QUICK),$(1))

bench: bench-setup ## Measure everything (an hour; QUICK=1: each part with little to do)
	$(MAKE) bench-offline bench-scaling ARGS="$(call quick,--packets 30000 --rounds 1) $(ARGS)"
	[ "$$(id -u)" != 0 ] || $(MAKE) bench-live ARGS="$(call quick,--packets 30000 --rounds 1) $(ARGS)"
	[ "$$(id -u)" != 0 ] || $(MAKE) bench-steps ARGS="$(call quick,--packets 30000 --rounds 1)"
	$(MAKE) bench-stages ARGS="$(call quick,--conversations 50)"
	$(TIMED) $(BIN)/python bench/matcher.py $(call quick,--entries 10000)
	$(TIMED) $(BIN)/python bench/extract.py
	$(TIMED) $(BIN)/python bench/pipeline.py $(call quick,--packets 20000)
	$(TIMED) $(BIN)/python bench/correlation.py $(call quick,--packets 20000)
	[ "$$(id -u)" != 0 ] || PYTHONPATH=tests/support $(TIMED) $(BIN)/python bench/attribution.py --packets $(if $(QUICK),30000,1000000)
	$(TIMED) $(BIN)/python bench/proxy_log.py
	$(TIMED) $(BIN)/python bench/lists.py $(call quick,--entries 10000)
	PYTHONPATH=tests/support $(TIMED) $(BIN)/python bench/pages.py $(call quick,--events 20000)
	$(TIMED) $(BIN)/python bench/list_pulls.py $(call quick,--entries 10000 --pulls 50)
	$(TIMED) $(BIN)/python bench/zone_transfers.py $(call quick,--entries 10000)
	[ "$$(id -u)" != 0 ] || $(TIMED) $(BIN)/python bench/engines.py $(call quick,--loops 1)

bpf: ## Build the eBPF filter again (after a change of its source; commit the object with it)
	clang -O2 -g -Wall -Wextra -Werror -target bpf -mcpu=v2 -ffile-prefix-map=$(CURDIR)=. -I/usr/include/$$(uname -m)-linux-gnu \
		-c $(BPF).c -o $(BPF).full
	llvm-objcopy --strip-debug --remove-section=.BTF.ext --remove-section=.rel.BTF.ext $(BPF).full $(BPF).o
	rm $(BPF).full

bench-setup: $(VENV)/.dev $(VENV)/.compiled ## Install the programs to measure beside ours
	bench/peers/install.sh

bench-offline: $(VENV)/.dev $(VENV)/.compiled ## Measure ours beside others on one file (ARGS="--packets 200000 --rounds 1")
	PYTHONPATH=tests/support $(TIMED) $(BIN)/python bench/offline.py $(ARGS)

bench-live: $(VENV)/.dev $(VENV)/.compiled ## Measure the sensor beside Suricata on a wire (ARGS as above; needs root)
	PYTHONPATH=tests/support $(TIMED) $(BIN)/python bench/live.py $(ARGS)

bench-scaling: $(VENV)/.dev $(VENV)/.compiled ## Measure twice the packets and ten times the flows (ARGS as above)
	PYTHONPATH=tests/support $(TIMED) $(BIN)/python bench/scaling.py $(ARGS)

bench-steps: $(VENV)/.dev $(VENV)/.compiled ## Measure where the live sensor's CPU goes, step by step (ARGS as above; needs root)
	PYTHONPATH=tests/support $(TIMED) $(BIN)/python bench/steps.py $(ARGS)

bench-stages: $(VENV)/.dev $(VENV)/.compiled ## Measure what each kind of relevant packet costs, stage by stage
	PYTHONPATH=tests/support $(TIMED) $(BIN)/python bench/stages.py $(ARGS)

lock: $(VENV)/.dev ## Pin the newest dependencies with their hashes
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra dev --extra build pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra build pyproject.toml -c requirements-dev.lock -o requirements.lock

user:
	@id -u molecatcher >/dev/null 2>&1 || $(SUDO) useradd --system --no-create-home --shell /usr/sbin/nologin molecatcher

$(VENV)/.system: Makefile
	@missing=$$(for p in $(RUN_PACKAGES); do dpkg-query -Wf '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; fi
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or later is needed: apt-get install python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: requirements.lock pyproject.toml $(VENV)/.system
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	MOLECATCHER_PURE_PYTHON=1 $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Half a minute where there is a compiler; tried again each time where there is none.
$(VENV)/.compiled: setup.py $(wildcard rules/*.py rules/*/*.py sensor/*.py sensor/*/*.py sensor/capture/*/*.py sensor/capture/*/*.[ch]) $(VENV)/.installed
	$(BIN)/python setup.py --quiet build_ext --inplace --force
	@! ls sensor/pipeline.*.so >/dev/null 2>&1 || touch $@

$(VENV)/.dev: requirements-dev.lock bench/peers/suricata.sh $(VENV)/.installed
	@missing=$$(for p in $(TEST_PACKAGES); do dpkg-query -Wf '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; fi
	@bench/peers/suricata.sh || echo "suricata is not to be had here: its tests are skipped"
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# Debian's npm brings Node.js; where another one is installed, that one is used.
$(VENV)/.npm: tests/npm/package-lock.json $(VENV)/.system
	@command -v npm >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends nodejs npm; }
	npm ci --silent --prefix tests/npm
	@touch $@
