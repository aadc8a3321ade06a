# What a developer types. `make quickstart` and `make test` set everything up themselves.
PYTHON ?= python3
VENV ?= .venv
OUT ?= quickstart
BIN := $(VENV)/bin
# Rules that ruff has on trial: docstrings name what is raised, and nothing that is not there.
DOCSTRINGS := DOC102,DOC202,DOC403,DOC501

.PHONY: quickstart test check format zoo clean

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

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

zoo: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet -e '.[zoo]'
	$(BIN)/python experiments/zoo/train.py --out evomerge/zoo

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet -e '.[dev,oracle]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
