// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The gomod builder: a module for the builds of others, as a part of the module download cache in `out/gopath`. The exchange directory
/// `/ro/gopath` of several of them is what the go command takes as `GOPROXY=file:///ro/gopath/cache/download`.
struct GoModuleBuildSystem: BuildSystem {
  func implicitDependencies(of definition: Definition, for architecture: Architecture) -> [BuildDependency] {
    ["bash", "coreutils"].map { BuildDependency($0) }
  }

  func plan(_ definition: Definition, in layout: BuildLayout, with dependencies: [PackageID]) throws -> SystemPlan {
    let place = "${DISTRI_DESTDIR}${DISTRI_PREFIX}/gopath"
    return SystemPlan(
      steps: [["mkdir", "-p", place], ["cp", "--archive", "--no-target-directory", "${DISTRI_SOURCEDIR}", place]])
  }
}
