# A thin front of Meson and Ninja. `make help` lists the targets.
# Everything is written into build/, but for the interpreters that tools/pythons provisions into .pythons/.

PREFIX ?= /usr/local
DESTDIR ?=
MINUTES ?= 10
SECONDS ?= 60
ARGS ?=

MESON ?= meson
NINJA ?= ninja

prefix := $(abspath $(PREFIX))

.PHONY: all check sanitized torture demo bench storm fuzz lint install clean help
.NOTPARALLEL:

all: build/build.ninja ## Build build/libpyunwind.so, build/libpyunwind-remote.so and build/pyunwind (the default)
	@$(NINJA) -C build

build/build.ninja:
	@command -v $(MESON) >/dev/null && command -v $(NINJA) >/dev/null || \
		{ echo "make: meson or ninja is missing; tools/setup installs what the build needs" >&2; exit 1; }
	$(MESON) setup --prefix=$(prefix) build

check: ## Set up, build, run all tests on every CPython found; ARGS="--only 'stacks/*'" (tests/run --help)
	@tools/setup check
	@$(MAKE) --no-print-directory all
	@tests/run $(ARGS)

# clang: its runtime is one library for both sanitizers, which tests/run preloads into interpreters, too.
SANITIZED_CC ?= clang-14
SANITIZED_FLAGS = -fno-sanitize-recover=all -fno-omit-frame-pointer

build-sanitized/build.ninja:
	@runtime=$$($(SANITIZED_CC) -print-file-name=libclang_rt.asan-$$(uname -m).so) && \
		CC='$(SANITIZED_CC)' $(MESON) setup -Db_sanitize=address,undefined -Db_lundef=false \
		-Dc_args='$(SANITIZED_FLAGS)' -Dc_link_args="-shared-libsan -Wl,-rpath,$$(dirname "$$runtime")" build-sanitized

sanitized: build-sanitized/build.ninja ## Build all with ASan and UBSan in build-sanitized/, for tests/run --sanitized
	@$(NINJA) -C build-sanitized

demo: ## Set up, build, and show tracebacks captured in signal handlers of Python programs
	@tools/setup build
	@$(MAKE) --no-print-directory all
	@examples/demo/run

bench: all ## Measure: time a frame, against the interpreter's own means; reading from outside: cost, truth; crashes
	@bench/run $(ARGS)
	@bench/remote $(ARGS)
	@bench/crash $(ARGS)
	@bench/truth $(ARGS)

storm: all ## Capture under a storm of signals, MINUTES=10 of each CPython; ARGS="--python 3.12" (tests/storms/run --help)
	@tests/storms/run --minutes $(MINUTES) $(ARGS)

torture: all sanitized ## Try to break it in every way, MINUTES=60 in all (docs/torture.md); ARGS="--only storms" (tools/torture --help)
	@tools/torture $(if $(filter file,$(origin MINUTES)),,--minutes $(MINUTES)) $(ARGS)

fuzz: all ## Fuzz, each target for SECONDS=60 by libFuzzer and by AFL++; ARGS="'report*'" (fuzz/run --help)
	@tools/setup fuzz
	@fuzz/run --seconds $(SECONDS) $(ARGS)

lint: ## Formatting, warnings of gcc and clang, clang-tidy, cppcheck
	@tools/lint $(ARGS)

install: all ## Install below PREFIX=/usr/local (and DESTDIR=, for packagers)
	@grep -qxF 'prefix=$(prefix)' build/pyunwind.pc || $(MESON) configure build --prefix=$(prefix)
	@DESTDIR='$(DESTDIR)' $(MESON) install -C build
	@if [ -z '$(DESTDIR)' ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi # or programs would not find the new library

clean: ## Remove build/ and build-sanitized/ (the interpreters in .pythons/ stay)
	rm -rf build build-sanitized

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
