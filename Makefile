# Every command sets up what it needs in .venv and works on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2
# Tests run in two workers on two cores: one thread each, and the modules that take longest first (tests/conftest.py).
ONE_THREAD := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' Makefile)

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(VENV)/dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(VENV)/benchmarks: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --editable '.[benchmarks]'
	touch $@

demo: $(VENV)/dev  ## train, compress to INT8, resume, export and run a small network
	$(BIN)/python examples/demo.py

samples: $(VENV)/dev  ## train each sample on data of its own, compress it to INT8 and export it
	for sample in "classification 20" "object_detection 60" "semantic_segmentation 15"; do set -- $$sample; \
		$(BIN)/python -m examples.$$1.train --epochs $$2 --learning-rate 3e-3 --export runs/$$1.keras && \
		$(BIN)/python -m examples.$$1.train --weights runs/$$1.keras --epochs 5 \
			--config examples/$$1/configs/int8.json --export runs/$$1.xml || exit 1; \
	done

test: lint  ## style, types, imports, and tests of every public behaviour: at most ten minutes
	$(PYTEST) -m "not extended"

test-rest: $(VENV)/dev  ## what `make test` leaves out: every application family, notebooks, kills, more of each matrix
	$(PYTEST) -m "extended and not every"

test-all: test test-rest  ## every test, and of long lists of cases as many as five seconds have room for: about an hour

test-every: test-all  ## every case of every test: about two hours
	$(PYTEST) -m every

durations: $(VENV)/dev  ## run every test and write down which modules and tests take longest: tests/durations.json
	$(PYTEST) --durations-file=tests/durations.json

coverage: $(VENV)/dev  ## line and branch coverage of `make test` and of `make test-all`
	rm -f .coverage .coverage.*
	COVERAGE_FILE=.coverage.test $(PYTEST) -m "not extended" --cov --cov-context test --cov-report term:skip-covered
	COVERAGE_FILE=.coverage.rest $(PYTEST) -m "extended and not every" --cov --cov-context test --cov-report=
	$(BIN)/coverage combine --keep .coverage.test .coverage.rest
	$(BIN)/coverage report --skip-covered

mutants: $(VENV)/dev  ## put 30 small faults into the package; how many do the tests notice? Needs `make coverage` first
	$(BIN)/python tests/mutants.py --seed $(or $(SEED),0) --count $(or $(COUNT),30)

faults: $(VENV)/dev  ## kill training at 60 random moments, damage 3,000 files, train on several devices and workers
	KILLS=10 FUZZ=3000 FUZZ_SEED=$(or $(SEED),0) $(BIN)/python -m pytest tests/faults

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev  ## bring the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev  ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-pages: $(VENV)/dev  ## write the pages that are made from the code: supported layers, keys of a configuration
	$(BIN)/python docs/generators/support_table.py
	$(BIN)/python docs/generators/configuration_reference.py

notebooks: $(VENV)/dev  ## run every notebook in full and store what it prints and draws (about ten minutes)
	$(BIN)/python notebooks/execute.py

dist: $(VENV)/dev  ## build wheel and sdist into dist/ and check them
	rm -rf dist
	$(BIN)/python -m pip install --quiet --editable '.[dist]'
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist site *.egg-info

bench: $(VENV)/benchmarks  ## speed beside peers: docs/benchmarks.md (DATA=CIFAR-10 for accuracy, ONLY=training …)
	$(BIN)/python benchmarks/bench.py $(if $(ONLY),--only $(ONLY)) $(if $(DATA),--data $(DATA))

# Figures. DATA is a zip file or folder of CIFAR-10 images by class.
accuracy: $(VENV)/benchmarks  ## accuracy of W8A8, W4A8, W4A4 beside float on CIFAR-10 (DATA=…)
	$(BIN)/python benchmarks/accuracy_cifar10.py --data $(DATA)

sparsity: $(VENV)/benchmarks  ## accuracy of sparsity beside float on CIFAR-10 (DATA=…, EPOCHS=3)
	$(BIN)/python benchmarks/sparsity_cifar10.py --data $(DATA) --epochs $(or $(EPOCHS),3)

binary: $(VENV)/benchmarks  ## accuracy of binarization in stages on CIFAR-10 (DATA=…)
	$(BIN)/python benchmarks/binary_cifar10.py --data $(DATA)

binary-latency: $(VENV)/benchmarks  ## a binarized ResNet-18 over its float model in OpenVINO
	$(BIN)/python benchmarks/binary_latency.py

parity: $(VENV)/benchmarks  ## exported graphs beside Keras, in TensorFlow and OpenVINO
	$(BIN)/python benchmarks/export_parity.py

latency: $(VENV)/benchmarks  ## INT8 over float by way of each format, beside NNCF
	$(BIN)/python benchmarks/openvino_latency.py

exports: $(VENV)/benchmarks  ## every format for many kinds of networks: audited, compared with Keras (DATA=… for ResNet-8 too)
	$(BIN)/python benchmarks/exports.py $(if $(DATA),--cifar10 $(DATA))

post-training: $(VENV)/benchmarks  ## accuracy of quantization without training (DATA=CIFAR-10, CAMVID=…)
	$(BIN)/python benchmarks/post_training.py --cifar10 $(DATA) --camvid $(CAMVID)

calibration-time: $(VENV)/benchmarks  ## time and memory of calibrating ResNet-50 over a prediction
	$(BIN)/python benchmarks/calibration_time.py

accuracy-control: $(VENV)/benchmarks  ## spoilt layers found, evaluations counted beside NNCF's (DATA=CIFAR-10)
	$(BIN)/python benchmarks/accuracy_control.py --cifar10 $(DATA)

export-memory: $(VENV)/benchmarks  ## does exporting leak: twenty exports to each format
	$(BIN)/python benchmarks/export_memory.py

creation: $(VENV)/benchmarks  ## seconds and memory of creating compressed models
	$(BIN)/python benchmarks/creation.py

report-picture: $(VENV)/benchmarks  ## the picture of the HTML report in docs/report.md
	$(BIN)/python benchmarks/report_picture.py

zoo: $(VENV)/benchmarks  ## every model of tf_keras.applications through everything
	$(BIN)/python benchmarks/zoo.py
