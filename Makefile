# Everything a person or CI does here. `make` alone says what there is.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test regress compare golden bench data pages docs check lowest convert clean viewer coverage

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

regress: $(READY) ## every case of data/cases.toml against data/golden, with every witness; and the hard cases
	$(RUN)/python -m tests.helpers.regress
	$(RUN)/python -m pytest tests/test_hard_cases.py tests/test_mask_cases.py tests/test_irregular_samples.py tests/test_known_wrong.py \
		tests/test_seg_sources.py tests/test_explain_masks.py tests/test_mimics_bundle.py

compare: $(READY) ## every hard case through four readers, against the truth; writes docs/compare.md
	$(RUN)/python -m tests.helpers.compare docs/compare.md

golden: $(READY) ## rewrite data/golden; review the difference
	$(RUN)/python -m tests.helpers.regress --update

bench: $(READY) ## measure beside other tools into docs/benchmarks.md (an hour, 4 GB in ~/.cache); FAST=1: ten minutes, 0.6 GB, prints only
	$(RUN)/python -m tests.helpers.bench $(if $(FAST),--fast,--write)

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
	.venv-lowest/bin/python -m pytest -n auto --ignore tests/test_browser.py --ignore tests/test_readme.py

viewer: pipeline/report/viewer/niivue.js ## the live viewer of the report page, from npm
pipeline/report/viewer/niivue.js: pipeline/report/viewer/package-lock.json pipeline/report/viewer/bundle.mjs
	cd pipeline/report/viewer && npm ci --omit=optional --ignore-scripts --no-audit --no-fund && npm run --silent build

convert: $(READY) ## convert one: make convert SERIES=folder OUT=liver.nii.gz
	$(RUN)/verimask convert "$(SERIES)" -o "$(OUT)"

clean: ## remove what was made here
	rm -rf pipeline/report/viewer/niivue.js pipeline/report/viewer/node_modules
	rm -rf $(VENV) .venv-lowest demo-output build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
