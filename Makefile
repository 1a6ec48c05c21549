# Everything a person or CI does here. `make` alone says what there is.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test regress compare golden case bench data pages docs check lowest convert clean viewer wheel windows sbom audit coverage clients fuzz kills

help: ## what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## a virtual environment in .venv, from the lock file
$(READY): .ci/requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/requirements.lock
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY) ## convert the sample series in data/ and show the verdicts
	rm -rf demo-output
	$(RUN)/verimask series data/samples
	$(RUN)/verimask convert data/samples -o demo-output/
	@echo; echo "The files:"; ls -1 demo-output/*.nii.gz

test: $(READY) ## the tests
	$(RUN)/python -m pytest -n auto $(PYTEST)

coverage: $(READY) ## the tests, and how much of the code they run, held against its floor
	$(MAKE) test PYTEST="--cov --cov-report=json"
	$(RUN)/python -m tests.helpers.coverage_floor build/coverage.json

SECONDS ?= 60
fuzz: $(READY) ## spoilt files to every reader and command; SECONDS=600, SEED=number (printed), TALLY=tests/fuzz/tallies.json to count them
	$(RUN)/python -m tests.fuzz.run --parsers --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(TALLY),--tally $(TALLY))
	$(RUN)/python -m tests.fuzz.run --commands --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(TALLY),--tally $(TALLY))

regress: $(READY) ## every case of data/ and tests/real/ against its golden record, with every witness; and the hard cases (in CI they just ran)
	$(RUN)/verimask regress data/cases.toml
	$(RUN)/verimask regress tests/real/cases.toml $(if $(CI),,--allow-left-out)
	$(if $(CI),,$(RUN)/python -m pytest tests/test_cases.py tests/test_hard_cases.py tests/test_mask_cases.py tests/test_irregular_samples.py tests/test_known_wrong.py \
		tests/test_seg_sources.py tests/test_explain_masks.py tests/test_mimics_bundle.py)

compare: $(READY) ## every hard case through four readers, against the truth; writes docs/compare.md
	$(RUN)/python -m tests.helpers.compare docs/compare.md

golden: $(READY) ## show what differs, and rewrite the golden records of data/ and tests/real/
	$(RUN)/verimask regress data/cases.toml --update --all
	$(RUN)/verimask regress tests/real/cases.toml --update --all --allow-left-out

COUNT ?= 300
kills: $(READY) ## kill every command that writes at random moments, and look at what stays: make kills COUNT=300 SEED=1 TALLY=kills.json
	$(RUN)/python -m tests.kills --count $(COUNT) --seed $(or $(SEED),1) $(if $(TALLY),--tally "$(TALLY)")

CASES ?= data/cases.toml
case: ## add a case: make case SERIES=folder ID=liver FROM='where from' LICENCE=MIT WHY='what for' OPTIONS='--as image' CASES=my/cases.toml
	@test -n "$(SERIES)" -a -n "$(ID)" || { echo "say what to add, and how to call it: make case SERIES=folder ID=liver" >&2; exit 64; }
	@$(MAKE) --no-print-directory $(READY)
	$(RUN)/verimask regress "$(CASES)" --add "$(SERIES)" --id "$(ID)" $(if $(FROM),--from "$(FROM)") \
		$(if $(LICENCE),--licence "$(LICENCE)") $(if $(WHY),--why "$(WHY)") $(OPTIONS)

bench: $(READY) ## measure beside other tools into docs/benchmarks.md (an hour, 4 GB in ~/.cache); FAST=1: ten minutes, 0.6 GB, prints only
	$(RUN)/python -m tests.helpers.bench $(if $(FAST),--fast,--write)
	$(RUN)/python -m tests.helpers.bench_receivers

data: $(READY) ## rewrite the sample series of data/
	$(RUN)/python -m tests.helpers.phantom data/

pages: $(READY) ## rewrite the pages of docs/ that are made from code
	$(RUN)/python -m tests.helpers.pages

docs: $(READY) ## the documentation site, in build/site; it needs no network
	mkdir -p build/api
	ln -sfn ../../pipeline build/api/verimask
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --quiet --clean -f .ci/mkdocs.yml

check: $(READY) ## lint, types, architecture
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

lowest: .ci/lowest.lock ## the tests with the lowest direct versions that are allowed
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/lowest.lock
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	.venv-lowest/bin/python -m pytest -n auto --hypothesis-profile few --ignore tests/test_browser.py --ignore tests/test_release.py --ignore tests/test_readme.py

clients: $(READY) .ci/clients.lock ## open all our files in 3D Slicer's core, NiiVue and MRIcron; writes docs/clients.md (half a gigabyte)
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .ci/clients.lock
	$(RUN)/python -W ignore -m tests.clients.run --write

viewer: pipeline/report/viewer/niivue.js ## the live viewer of the report page, from npm
pipeline/report/viewer/niivue.js: pipeline/report/viewer/package-lock.json pipeline/report/viewer/bundle.mjs
	cd pipeline/report/viewer && npm ci --omit=optional --ignore-scripts --no-audit --no-fund && npm run --silent build

wheel: $(READY) viewer ## wheel and sdist, with the live viewer in them, in dist/
	$(RUN)/python .ci/build_backend.py dist

windows: wheel ## folder and zip for Windows without Python: make windows PYTHON_EMBED=python-3.X.Y-embed-amd64.zip PYTHON_EMBED_SHA256=...
	$(RUN)/python .ci/windows.py --embed "$(PYTHON_EMBED)" --sha256 "$(PYTHON_EMBED_SHA256)" --wheel dist/verimask-*.whl --out dist

sbom: $(READY) ## the parts of a release, as CycloneDX, in build/sbom.json
	mkdir -p build
	$(RUN)/python .ci/runtime_lock.py linux > build/runtime.lock
	$(RUN)/cyclonedx-py requirements build/runtime.lock --pyproject pyproject.toml --output-reproducible --validate -o build/sbom.json

audit: $(READY) ## whether a package of the lock file is known to be vulnerable; needs a network, and is no part of CI
	$(RUN)/python .ci/audit.py .ci/requirements.lock

convert: ## convert one: make convert SERIES=folder OUT=liver.nii.gz
	@test -n "$(SERIES)" -a -n "$(OUT)" || { echo "say what to convert, and to which file: make convert SERIES=folder OUT=liver.nii.gz" >&2; exit 64; }
	@$(MAKE) --no-print-directory $(READY)
	$(RUN)/verimask convert "$(SERIES)" -o "$(OUT)"

clean: ## remove what was made here
	rm -rf pipeline/report/viewer/niivue.js pipeline/report/viewer/node_modules
	rm -rf $(VENV) .venv-lowest .venv-clients demo-output build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
