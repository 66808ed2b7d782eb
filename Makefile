# The first target that needs it sets everything up (scripts/setup); the next ones find it done.

SHELL := /bin/sh
.DEFAULT_GOAL := help
BIN := .venv/bin
RUN := .venv/.run
TEST := .venv/.test
SOAK := .venv/.soak
BENCH := .venv-bench/.done
PYTEST := $(BIN)/python -m pytest
SOAK_TIMEOUT := 7200
UV_LOCK = uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --no-annotate

# Without compiled files each start would compile a thousand modules: 0.5 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test loops pythons check advisories fix run bench soak mutants screenshots image release lock clean
.PHONY: check-types check-security check-files check-advisories

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 15

$(RUN): scripts/setup pyproject.toml locks/build.txt locks/runtime.txt
	@scripts/setup run

$(TEST): scripts/setup pyproject.toml locks/build.txt locks/dev.txt locks/legacy.txt tests/clients/package-lock.json
	@scripts/setup test

$(SOAK): $(TEST)
	@scripts/setup soak

$(BENCH): $(TEST) bench/requirements.txt bench/peers/node/package-lock.json
	@scripts/setup bench

demo: $(RUN) ## the whole product offline: simulated brokers, bearerd in front, a first answer; runs until Ctrl-C
	@exec $(BIN)/bearerd demo $(ARGS)

# Half of what a test takes is waiting, for processes and for time to pass: three at once keep two cores busy.
test: check ## everything that must pass: check, then all tests but the soak
	$(PYTEST) -n 3 --dist worksteal -m "not soak and not timing" $(ARGS)
	$(PYTEST) -m "timing and not soak" $(ARGS) || test $$? = 5  # 5: none among $(ARGS)

loops: $(TEST) ## all tests once more, on Python's own event loop; `make test` has them on uvloop
	$(PYTEST) --loop=asyncio -n 3 --dist worksteal -m "not soak and not timing" $(ARGS)
	$(PYTEST) --loop=asyncio -m "timing and not soak" $(ARGS) || test $$? = 5

pythons: $(TEST) ## the core of the tests under each Python that is here, 3.11 to 3.14; ARGS="3.13" for some of them
	$(BIN)/python scripts/pythons.py $(ARGS)

check: $(TEST) ## lint, types, known advisories; changes no file
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@$(MAKE) --no-print-directory -k -j 2 check-types check-security check-files check-advisories

check-types:
	$(BIN)/mypy

check-security:
	$(BIN)/bandit -q -c pyproject.toml -r proxy

check-files:
	$(BIN)/hadolint Dockerfile examples/bot/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@test ! -e config.schema.json || $(BIN)/check-jsonschema --schemafile config.schema.json config.example.yaml examples/schwab.yaml
	$(BIN)/shellcheck scripts/setup scripts/advisories .ci/run

check-advisories:
	@scripts/advisories

advisories: $(TEST) ## what is publicly known of the packages that run in production; it fails if nobody can be asked
	@ADVISORIES=required scripts/advisories

fix: $(TEST) ## let ruff repair and format what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

run: $(RUN) ## bearerd serve, with your own configuration
	@exec $(BIN)/bearerd serve $(ARGS)

bench: $(BENCH) ## speed beside other proxies, which it installs; ARGS="calls streams" for parts, ARGS=quick for a minute
	$(BIN)/python -m bench $(ARGS)

soak: $(SOAK) ## the figures at full length, and the properties with many more examples
	$(PYTEST) -m "soak or hypothesis" --timeout=$(SOAK_TIMEOUT) --hypothesis-profile=deep $(ARGS)

mutants: $(TEST) ## how many planted faults the tests of the deciding code notice; ARGS=gate/target.py or --sample 20
	$(BIN)/python tests/mutants.py $(ARGS)

screenshots: $(TEST) ## make the README's pictures anew: four minutes of a demo, in a real Chromium
	$(BIN)/python scripts/screenshots.py

image: ## build the container image, with docker or buildah
	@python3 scripts/image.py build $(ARGS)

release: $(TEST) ## dist/: sdist, wheel, SBOM and SHA256SUMS of what is committed; ARGS=--dirty for a try
	$(BIN)/python scripts/release.py $(ARGS)

lock: ## resolve the lock files again (needs uv); newer versions with ARGS=--upgrade
	@command -v uv >/dev/null || { echo "make lock needs uv (pipx install uv)." >&2; exit 1; }
	$(UV_LOCK) $(ARGS) --extra postgres --extra otel pyproject.toml -o locks/runtime.txt
	$(UV_LOCK) $(ARGS) --group build -o locks/build.txt
	$(UV_LOCK) $(ARGS) --extra postgres --extra otel pyproject.toml --group dev --group clients -o locks/dev.txt
	$(UV_LOCK) $(ARGS) --group legacy --override locks/legacy.overrides -o locks/legacy.txt

clean: ## remove what was set up, built and cached
	rm -rf .venv .venv-legacy .venv-bench .venv-pythons build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage tests/clients/node_modules bench/peers/node/node_modules
	find proxy tests bench -name __pycache__ -prune -exec rm -rf {} +
