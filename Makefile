# What a developer types. `make quickstart` and `make test` set everything up themselves.
PYTHON ?= python3
VENV ?= .venv
OUT ?= quickstart
BIN := $(VENV)/bin
# Rules that ruff has on trial: docstrings name what is raised, and nothing that is not there.
DOCSTRINGS := DOC102,DOC202,DOC403,DOC501

.PHONY: quickstart test check audit format zoo pins clean

quickstart: $(VENV)/.installed
	$(BIN)/evomerge quickstart $(OUT)

test: $(VENV)/.installed-dev
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select $(DOCSTRINGS) evomerge
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(VENV)/audit
	$(VENV)/audit/bin/python .ci/audit.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

zoo: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet -e '.[zoo]'
	$(BIN)/python experiments/zoo/train.py --out evomerge/zoo

# The versions that the tests run with; those of what the images have beside are the newest that fit.
pins: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet uv
	$(BIN)/pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//; / @ /d' > $(VENV)/tested.txt
	$(BIN)/uv pip compile pyproject.toml docker/requirements.in --constraint $(VENV)/tested.txt \
	  --extra ray --extra multi-gpu --extra lm-eval --extra optuna --extra datasets \
	  --extra botorch --extra ribs --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --no-header --no-annotate --quiet \
	  | $(BIN)/python docker/pin.py

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet -e '.[dev,oracle]'
	touch $@

$(VENV)/audit:
	$(PYTHON) -m venv $@.partial
	$@.partial/bin/pip install --quiet 'pip-audit>=2.10,<3'
	mv $@.partial $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
