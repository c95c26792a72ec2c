// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The meson builder: `meson` and ninja.
struct MesonBuildSystem: BuildSystem {
  let extraFlags: [String]

  func implicitDependencies(of definition: Definition, for architecture: Architecture) -> [BuildDependency] {
    // meson cannot do without ninja and brings it.
    BuildDependency.toolchain + [BuildDependency("meson"), BuildDependency("ninja", isRequired: false)]
  }

  func plan(_ definition: Definition, in layout: BuildLayout, with dependencies: [PackageID]) throws -> SystemPlan {
    // meson never builds in the source itself.
    let build = layout.buildsInTree ? "_build" : "."
    let configure =
      [
        "meson", "setup", "--prefix=${DISTRI_PREFIX}", "--libdir=lib", "--sysconfdir=/etc", "--localstatedir=/var",
        "--buildtype=debugoptimized", "--wrap-mode=nodownload",
      ] + extraFlags + ["${DISTRI_SOURCEDIR}", build]
    return SystemPlan(
      steps: [configure, ["ninja", "-v", "-C", build, "-j", "${DISTRI_JOBS}"], ["ninja", "-C", build, "install"]],
      environment: ["DESTDIR": "${DISTRI_DESTDIR}"])
  }
}
