# Two commands do all the set-up on a fresh Debian machine with Python 3.11: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYSTEM_PARTS := mosquitto mosquitto-clients postgresql openssl systemd maven default-jre-headless prometheus chromium

# Needed by some faults besides.
FAULT_PARTS := faketime libfaketime util-linux

.PHONY: demo screenshots test check audit bench fuzz faults install system-parts clean

demo: $(VENV)/.installed
	$(BIN)/inspector demo

# Pictures of every page of the console over a drawn line, for docs/console.md and for a look at them.
screenshots: system-parts $(VENV)/.installed
	$(BIN)/python -m tests.browser.screenshots $(or $(TO),screenshots)

# One worker more than there are cores, because tests wait for real processes; at most four: each of them has brokers and
# databases of its own.
WORKERS := $(shell echo $$(( $$(nproc 2>/dev/null || echo 1) + 1 )))

# Processes of tests share the cores, and idle threads of a matrix product spin on them.
test: system-parts check
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Licences of what is installed, and known vulnerabilities of what an agent needs (requirements.lock). The latter needs
# pip-audit, in an environment of its own, and a database in the internet; where it can't be reached it says so.
audit: $(VENV)/.installed
	@test -x $(VENV)/audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/audit && \
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit; } || true
	$(BIN)/python -m tests.audit --pip-audit $(VENV)/audit/bin/python

# What things cost here as ratios, then a short `inspector bench pipeline`; docs/performance.md has the other benches.
bench: system-parts $(VENV)/.installed
	$(BIN)/python -m benchmarks
	$(BIN)/inspector bench pipeline --frames 1000 --windows 3

# Minutes; SEED= for other inputs. A part of it runs in `make test`.
fuzz: $(VENV)/.installed
	$(BIN)/python -m tests.fuzz --count 200000 --seed $(or $(SEED),1)

faults: system-parts $(VENV)/.installed
	@[ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || sh tests/install_system_parts.sh $(FAULT_PARTS)
	$(BIN)/python -m tests.faults

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,test]'
	touch $@

# What the tests need besides Python. Without root or apt the tests that need it are skipped by name.
system-parts:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then sh tests/install_system_parts.sh $(SYSTEM_PARTS); \
	else echo "not root, or no apt-get: tests that need $(SYSTEM_PARTS) are skipped where they are missing"; fi

clean:
	rm -rf $(VENV) build dist
