// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The go builder: `go install`, with the modules of the dependencies instead of a network. `GO_LDFLAGS` in `go_env` is for its linker.
struct GoBuildSystem: BuildSystem {
  let options: Definition.Builder.Go

  func implicitDependencies(of definition: Definition, for architecture: Architecture) -> [BuildDependency] {
    BuildDependency.toolchain + [BuildDependency("golang")]
  }

  func plan(_ definition: Definition, in layout: BuildLayout, with dependencies: [PackageID]) throws -> SystemPlan {
    let source = layout.buildsInTree ? "." : "src"
    let named = options.install.flatMap { $0.split(separator: " ").map(String.init) }
    let packages = named.isEmpty ? ["./..."] : named
    let copy = layout.buildsInTree ? [] : [["cp", "--archive", "--no-target-directory", "${DISTRI_SOURCEDIR}", source]]
    return SystemPlan(
      steps: copy + [
        ["/bin/sh", "-ec", Self.collectModules],
        ["/bin/sh", "-ec", Self.install, "install", source, options.importPath, "${DISTRI_JOBS}", "/ro/${DISTRI_FULLNAME}/lib"]
          + packages,
      ],
      environment: try environment(of: definition))
  }

  private func environment(of definition: Definition) throws -> [String: String] {
    // Names that ./... does not look into.
    let place = "${DISTRI_BUILDDIR}/.go"
    var result = [
      "GOPATH": place, "GOMODCACHE": "\(place)/mod", "GOCACHE": "\(place)/cache", "GOPROXY": "file://\(place)/proxy",
      "GOBIN": "${DISTRI_DESTDIR}${DISTRI_PREFIX}/bin", "GO111MODULE": "on", "GOENV": "off", "GOTOOLCHAIN": "local",
      // There is nobody to ask: what the modules are is what the hashes of their packages say.
      "GOSUMDB": "off", "GOVCS": "*:off",
      // No paths and no revision of the build's directories in what is built.
      "GOFLAGS": "-trimpath -buildvcs=false -modcacherw",
    ]
    for setting in options.environment {
      guard let sign = setting.firstIndex(of: "="), sign != setting.startIndex else {
        throw BuildError.invalidPackage(
          definition.name, pass: "plan", reason: "go_env «\(setting.printable)» is not NAME=value")
      }
      result[String(setting[..<sign])] = String(setting[setting.index(after: sign)...])
    }
    return result
  }

  /// A module proxy that may be written to, of the dependencies' modules, with the lists of versions that a package of one version lacks.
  private static let collectModules = """
    mkdir -p "$GOPATH/proxy" "$GOBIN"
    if [ -d /ro/gopath/cache/download ]; then
      cp --recursive --dereference --no-target-directory /ro/gopath/cache/download "$GOPATH/proxy"
      chmod --recursive u+w "$GOPATH/proxy"
      find "$GOPATH/proxy" -type d -name @v | while read -r versions; do
        (cd "$versions" && ls | sed --quiet 's/[.]info$//p' >list)
      done
    fi
    """

  /// A module without `go.mod` gets one of its import path. One that brings its dependencies is built from those.
  private static let install = """
    cd "$1"
    import_path=$2 jobs=$3 libraries=$4
    shift 4
    # where the original puts the working copy
    if [ -d "pkg/mod/$import_path@v0" ]; then cd "pkg/mod/$import_path@v0"; fi
    if [ ! -e go.mod ]; then
      if [ -z "$import_path" ]; then
        echo "the source has no go.mod, and the definition no import_path" >&2
        exit 1
      fi
      go mod init "$import_path"
    fi
    if [ ! -e vendor/modules.txt ]; then export GOFLAGS="$GOFLAGS -mod=mod"; fi
    # what gcc gets for other programs; go links without gcc where it can
    export CGO_LDFLAGS="$CGO_LDFLAGS $LDFLAGS"
    loader=${LDFLAGS#*--dynamic-linker=}
    exec go install -v -p "$jobs" -ldflags "-I=${loader%% *} -r=$libraries $GO_LDFLAGS" "$@"
    """
}
