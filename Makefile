# Everything runs in .venv, made from the lock. `make demo` and `make test` need Python 3.11 and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test test-slow bench-peers flink flink-test lint lock clean

setup: $(READY)

# The lock was resolved by uv; --no-deps, since pip would refuse tfx-bsl's pins (see README).
$(READY): requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Python 3.11 is needed (TensorFlow and ScaNN have wheels for it here); say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/idp-tf demo --workdir demo-workdir

# A process for each core; a file's tests stay together, as they share what they set up.
test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m slow

# What `idp-tf bench` measures against, in an environment of its own.
bench-peers:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet -r benchmarks/peers.txt

# A Flink for one machine, of parts that the registries have.
flink: .flink/.ready

.flink/.ready: pipelines/flink/pom.xml pipelines/flink/requirements.txt
	@command -v java >/dev/null && command -v mvn >/dev/null || \
		{ echo "Java 17 and Maven are needed: see that java and mvn are on the PATH"; exit 1; }
	rm -rf .flink
	$(PYTHON) -m venv .flink/venv
	.flink/venv/bin/pip install --quiet --no-deps -r pipelines/flink/requirements.txt
	cd .flink/venv/lib/python3*/site-packages/pyflink/lib && \
		mv flink-dist-*.jar log4j-api-*.jar log4j-core-*.jar log4j-slf4j-impl-*.jar $(CURDIR)/.flink
	mvn --batch-mode --quiet -f pipelines/flink/pom.xml package -Dfolder=$(CURDIR)/.flink/build
	mv .flink/build/beam-*.jar .flink
	rm -rf .flink/venv .flink/build
	touch $@

# One JobManager and two TaskManagers as processes of their own, one of which is killed midway.
flink-test: setup flink
	$(BIN)/python -m pytest tests/pipelines/flink tests/pipelines/example_gen/test_runners.py \
		-m "slow or not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Needs uv; re-resolves every pin.
lock:
	uv pip compile setup.cfg --all-extras --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--no-emit-index-url --no-emit-find-links --upgrade -o requirements.lock

clean:
	rm -rf $(VENV) .venv-peers .bench-workdir .flink demo-workdir
