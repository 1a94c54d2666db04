# The course's commands; `make` alone lists them. Works with GNU make 3.81 and later.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PY := $(BIN)/python
STAMP := $(VENV)/installed

# TORCH=cpu takes the small build without CUDA; .venv/torch keeps the choice for later calls.
INSTALLED_TORCH := $(shell cat $(VENV)/torch 2>/dev/null)
TORCH ?= $(or $(INSTALLED_TORCH),default)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ifeq ($(filter default cpu,$(TORCH)),)
$(error TORCH=$(TORCH): expected cpu or default)
endif
ifneq ($(filter-out $(TORCH),$(INSTALLED_TORCH)),)
ifneq ($(MAKECMDGOALS),clean)
$(error $(VENV) was made with TORCH=$(INSTALLED_TORCH); to change to TORCH=$(TORCH), run make clean first)
endif
endif

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null && { echo $$p; break; }; done)

NOTEBOOK ?= 00_start_here.ipynb
LAB_ARGS ?=
NB ?=
UV_ARGS ?=
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help lab test notebooks book student stamp lint sizes results bench requirements clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

$(STAMP): requirements.txt pyproject.toml
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c '$(SUPPORTED)' || { \
		echo "This course needs Python 3.11, 3.12 or 3.13; found: $$( ($(or $(PYTHON),python3) --version) 2>&1 | tail -n 1)."; \
		echo "Install one, or name it: make lab PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON), once; this takes some minutes."
	$(PYTHON) -m venv $(VENV)
	@echo $(TORCH) > $(VENV)/torch
ifeq ($(TORCH),cpu)
	$(PY) -m pip install --no-deps --index-url $(TORCH_INDEX) $$(grep -E '^(torch|torchvision)==' requirements.txt)
	grep -vE '^(torch|torchvision|triton)==|^(cuda|nvidia)-' requirements.txt > $(VENV)/requirements-cpu.txt
	$(PY) -m pip install -r $(VENV)/requirements-cpu.txt
else
	$(PY) -m pip install -r requirements.txt
endif
	$(PY) -m pip install --quiet --no-deps -e .
	@touch $(STAMP)

lab: $(STAMP) ## open JupyterLab on the first notebook (LAB_ARGS="--port=9999" passes options on)
	@root=; browser=; \
	[ "$$(id -u 2>/dev/null)" = 0 ] && root=--allow-root; \
	[ "$$(uname -s)" = Linux ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ] && browser=--no-browser; \
	[ -z "$$browser" ] || echo "No display here: open the address that JupyterLab prints below in a browser."; \
	exec $(PY) -m jupyter lab --LabApp.default_url=/lab/tree/notebooks/$(NOTEBOOK) \
		--LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $$root $$browser $(LAB_ARGS)

# The notebooks run on this interpreter (--nbval-current-env), not on whatever kernel is registered as python3 elsewhere;
# notebooks/conftest.py takes SEGLIB_DATA from them and restarts a kernel that does not come up.
# A file's tests, and a notebook's cells, stay in one of the JOBS processes; each has one thread, because two torch
# processes with two threads each slow one another tenfold on two cores. Notebooks, which take longest, come first.
test: lint ## lint, unit tests, and every notebook against its stored outputs (JOBS=4 for more processes)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -rs -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		--nbval --nbval-current-env --nbval-cell-timeout=600 notebooks tests

notebooks: $(STAMP) ## run notebooks again and store their outputs (NB=06_training_voc_aug for one)
	$(PY) tools/notebooks.py $(NB)

book: $(STAMP) ## build the book, with search and slides, into build/book, and check its links
	$(PY) -m tools.book.build

student: $(STAMP) ## write the notebooks without solutions into student/
	$(PY) tools/student.py

stamp: $(STAMP) ## write the address in pyproject.toml into badges and set-up cells
	$(PY) tools/stamp.py

lint: $(STAMP) ## ruff check and ruff format --check
	$(PY) -m ruff check --quiet
	$(PY) -m ruff format --check --quiet

sizes: $(STAMP) ## count the lines of the package and of what to read first, and write them into README.md
	$(PY) tools/sizes.py

results: $(STAMP) ## write docs/results.md and .csv, and README's evidence, from the stored results
	$(PY) tools/results_page.py
	$(PY) -m tools.evidence

bench: $(STAMP) ## run every benchmarks/*.py
	@for f in benchmarks/*.py; do [ -e "$$f" ] || { echo "benchmarks/ holds no script"; break; }; \
		echo "== $$f"; $(PY) "$$f" || exit 1; done

requirements: $(STAMP) ## pin requirements.txt from pyproject.toml (UV_ARGS=--upgrade moves to the newest versions)
	$(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
		--extra lab --extra test --extra export --extra book --no-emit-index-url $(UV_ARGS) pyproject.toml -o requirements.txt

clean: ## remove .venv and caches; runs/ and data/ stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
