# The commands of augment_lib. `make` alone lists them; each sets up what it needs, so none has to be typed before another.
# On a fresh machine Python 3.11 to 3.13, make and git are enough: everything else goes into .venv, in the versions of constraints.txt.

EXPERIMENTS ?= headline
PROFILE ?= small
PYTHON ?= python3
OUT ?= out

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup test figures results reports faults lab docs export clean-nbs smoke sets peers students
SHELL := /bin/bash
BIN := .venv/bin

# One thread a process: the networks are small, and the work is spread over processes instead.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Notebooks run in their own folders, so a relative data folder is made absolute here.
ifneq ($(strip $(AUGMENT_LIB_DATA)),)
  DATA_FOLDER := $(shell cd "$(AUGMENT_LIB_DATA)" 2>/dev/null && pwd)
  ifeq ($(DATA_FOLDER),)
    $(error AUGMENT_LIB_DATA is "$(AUGMENT_LIB_DATA)", which is no folder that can be read. Give the folder with the data files, or unset it)
  endif
  override AUGMENT_LIB_DATA := $(DATA_FOLDER)
  export AUGMENT_LIB_DATA
endif

# A stamp named by the hash of everything that decides what is installed: while it is there, nothing is installed again.
STAMP := .venv/.installed-$(firstword $(shell cat constraints.txt settings.ini setup.py pyproject.toml | cksum))
DOCS_STAMP := $(STAMP)-docs

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  EXPERIMENTS=$(EXPERIMENTS) (headline, all, or names with commas)   PROFILE=$(PROFILE) (smoke, small, paper)   PYTHON=$(PYTHON)"
	@echo "  AUGMENT_LIB_DATA=<folder> takes data files from there instead of the internet"

setup: $(STAMP)  ## make .venv and install everything into it (done by the others when needed)

test: $(STAMP)  ## run the lessons and the tests
	$(BIN)/nbdev-test nbs --n-workers 2
	MPLBACKEND=Agg $(BIN)/python -m pytest tests -n 2 --dist loadfile

figures: $(STAMP)  ## run the experiments, draw their figures into out/, compare with results/
	$(BIN)/augment-lib sweep $(EXPERIMENTS) --profile $(PROFILE) --out $(OUT) --keep-going

results: $(STAMP)  ## promote out/ to results/, after showing what changes
	$(BIN)/augment-lib results $(EXPERIMENTS) --profile $(PROFILE) --out $(OUT)

reports: $(STAMP)  ## the gallery and papers against measurements, as HTML in out/reports
	$(BIN)/augment-lib reports --out $(OUT)

faults: $(STAMP)  ## 200 notebook runs while workers, kernels, the scheduler and the sweep are killed at random
	$(BIN)/python tests/faults/storm.py

lab: $(STAMP)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab nbs

docs: $(DOCS_STAMP)  ## build the site into docs/_build/html
	$(BIN)/python docs/build.py

export: $(STAMP)  ## write augment_lib/*.py from the notebooks
	$(BIN)/nbdev-export

clean-nbs: $(STAMP)  ## tidy the notebooks; experiments lose their outputs and keep their parameters tag
	$(BIN)/nbdev-clean
	$(BIN)/jupyter nbconvert --clear-output --inplace nbs/experiments/*.ipynb
	$(BIN)/nbdev-clean --fname nbs/experiments

smoke: $(STAMP)  ## run one experiment in its smallest profile: make smoke NB=30_david_simulation
	@test -n "$(NB)" || { echo "which experiment? make smoke NB=<name of a notebook in nbs/experiments, without .ipynb>"; exit 2; }
	$(BIN)/augment-lib run $(NB) --out $(OUT)

sets: $(STAMP)  ## does every set load, and DAVID work on every regression set? (needs AUGMENT_LIB_DATA or the internet)
	AUGMENT_LIB_ALL_SETS=1 $(BIN)/python -m pytest tests/test_data.py -k sets_of_the_mirror
	$(BIN)/python tests/sets.py

peers: .venv-peers/.installed  ## install the rival generators, in an environment of their own

$(STAMP):
	@test -x $(BIN)/python || { \
	  for python in $(PYTHON) python3.13 python3.12 python3.11; do \
	    "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && break; python=; \
	  done; \
	  test -n "$$python" || { echo "augment_lib needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	    "Install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }; \
	  echo "making .venv with $$("$$python" --version)"; \
	  "$$python" -m venv .venv || { rm -rf .venv; echo "$$python cannot make virtual environments (Debian, Ubuntu: install python3-venv)"; exit 1; }; \
	}
	@echo "installing the versions in constraints.txt into .venv (minutes, once)"
	$(BIN)/python -m pip install --quiet -c constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools wheel torch
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[dev]'
	@rm -f .venv/.installed-*
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[docs]'
	@touch $@

students: $(foreach s,h2o autogluon autokeras,.venv-students/$(s)/.installed)  ## install the three frameworks of the ML teacher's paper, each in an environment of its own

.venv-students/%/.installed: students/requirements-%.txt $(STAMP)
	$(BIN)/python -m venv .venv-students/$*
	.venv-students/$*/bin/python -m pip install --quiet -r students/requirements-$*.txt
	@touch $@

.venv-peers/.installed: peers/requirements.txt $(STAMP)
	$(BIN)/python -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet torch==2.13.0
	.venv-peers/bin/python -m pip install --quiet -r peers/requirements.txt
	@touch $@
