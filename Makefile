# Everything a developer runs. Variables: SCENE=path.gltf SWEEPS=folder CHECK=1 PORT=8080 PYTHON=python3 VENV=.venv
.PHONY: help demo test scenarios lint format bench bench-micro shaders nightly clean
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.framemesh-installed
export LP_NUM_THREADS ?= 2
export NUMBA_NUM_THREADS ?= 2

help:
	@echo 'make demo     a small mesh on this machine and a page to open (SCENE=path.gltf, PORT=8080,'
	@echo '              SWEEPS=folder of KITTI velodyne files to find boxes in, beside it;'
	@echo '              CHECK=1 drives a headless browser instead and says whether all is well)'
	@echo 'make test     all tests'
	@echo 'make scenarios  10,000 random meshes and half as much overload again, on all cores'
	@echo 'make lint     formatting, lint rules, types, freshness of compiled shaders'
	@echo 'make format   let the formatter and the linter mend what they can'
	@echo 'make bench    the benchmarks, quick'
	@echo 'make bench-micro  single kernels, messages and decisions, timed by pytest-benchmark'
	@echo 'make gpu      what needs a real GPU: its tests and figures, into bench/results (8 minutes;'
	@echo '              SOFTWARE=1 takes a software driver, to try the command itself)'
	@echo 'make fuzz     200,000 spoilt scenes and environments against the code that reads them (COUNT=n,'
	@echo '              SEED=n to repeat one, REPLAY=out/fuzz/FINDING.bin)'
	@echo 'make shaders  compile the shaders that have changed'
	@echo 'make nightly  the same tests with far more cases, the benchmarks in full'

# The environment follows pyproject.toml.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "framemesh needs Python 3.11 or later; set PYTHON=")'
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable '.[dev,bench]'
	@touch $@

.PHONY: system-run system-check system-test
system-run system-check system-test: system-%:
	@PYTHON=$(PYTHON) .ci/system-packages $*

demo: $(if $(CHECK),system-check,system-run)
	@$(MAKE) --no-print-directory $(INSTALLED)
	$(VENV)/bin/framemesh demo $(if $(SCENE),--scene '$(SCENE)') $(if $(PORT),--port $(PORT)) $(if $(SWEEPS),--sweeps '$(SWEEPS)') $(if $(CHECK),--check)

# Tests that only compute run two at a time; those with real processes and clocks have the machine.
COMPUTING := tests/bench tests/infer/drives tests/infer/fusion tests/infer/models \
	tests/infer/perception tests/infer/pillars tests/infer/track \
	tests/mesh/schedule tests/render/passes tests/render/pathtrace tests/sim

test: system-test
	@$(MAKE) --no-print-directory $(INSTALLED)
	$(RUN) -m pytest -n 2 --dist loadfile $(COMPUTING)
	$(RUN) -m pytest $(addprefix --ignore=,$(COMPUTING))

scenarios: $(INSTALLED)
	FRAMEMESH_SCENARIOS=$(or $(SCENARIOS),10000) $(RUN) -m pytest -n auto --timeout=3600 \
		tests/sim/test_scenarios.py tests/sim/test_overload.py

lint: $(INSTALLED)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m render.shaders.build --check

format: $(INSTALLED)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(INSTALLED)
	$(RUN) -m bench --quick

bench-micro: $(INSTALLED)
	$(RUN) -m pytest bench/micro --benchmark-only --benchmark-group-by=func --benchmark-sort=name \
		--benchmark-columns=min,median,iqr,rounds

gpu: $(INSTALLED)
	$(RUN) -m bench.gpu $(if $(SOFTWARE),--software)

# Without atheris, which is not there for every Python, no inputs are guided by coverage.
.PHONY: fuzz
fuzz: $(INSTALLED)
	-$(RUN) -m pip install --quiet --editable '.[fuzz]'
	$(RUN) -m bench.fuzz $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED)) $(if $(REPLAY),--replay $(REPLAY))

shaders: $(INSTALLED)
	$(RUN) -m render.shaders.build

nightly: system-test
	@$(MAKE) --no-print-directory $(INSTALLED)
	HYPOTHESIS_PROFILE=nightly FRAMEMESH_SCENARIOS=10000 $(RUN) -m pytest --timeout=3600
	$(RUN) -m bench --json out/bench
	$(MAKE) --no-print-directory fuzz COUNT=1000000

clean:
	rm -rf build dist out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
