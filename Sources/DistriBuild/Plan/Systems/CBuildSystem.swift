// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The c builder: `configure`, `make`, `make install`, with `autoreconf` first where the definition says so.
struct CBuildSystem: BuildSystem {
  let options: Definition.Builder.C

  func implicitDependencies(of definition: Definition, for architecture: Architecture) -> [BuildDependency] {
    guard options.runsAutoreconf else { return BuildDependency.toolchain }
    return BuildDependency.toolchain + ["autoconf", "automake", "libtool", "gettext"].map { BuildDependency($0) }
      // gettext's autopoint may keep its files in an archive.
      + ["tar", "xz", "gzip"].map { BuildDependency($0, isRequired: false) }
  }

  func plan(_ definition: Definition, in layout: BuildLayout, with dependencies: [PackageID]) throws -> SystemPlan {
    if options.runsAutoreconf, !definition.hasWritableSource || !definition.buildsInTree {
      throw BuildError.invalidPackage(
        definition.name, pass: "plan", reason: "autoreconf needs writable_sourcedir: true and in_tree_build: true")
    }
    var steps: [[String]] = []
    if options.runsAutoreconf { steps.append(["autoreconf", "--force", "--install"]) }
    steps.append(
      [
        "${DISTRI_SOURCEDIR}/configure", "--build=${DISTRI_CONFIGURE_HOST}", "--host=${DISTRI_CONFIGURE_HOST}",
        "--prefix=${DISTRI_PREFIX}", "--sysconfdir=/etc", "--disable-dependency-tracking",
      ] + options.extraConfigureFlags)
    steps.append(["make", "-j${DISTRI_JOBS}", "V=1"] + options.extraMakeFlags)
    steps.append(["make", "install", "DESTDIR=${DISTRI_DESTDIR}", "PREFIX=${DISTRI_PREFIX}"] + options.extraMakeFlags)
    var environment = ["DESTDIR": "${DISTRI_DESTDIR}"]
    // Macros of all packages; an automake that was built here looks into its own directory only.
    if options.runsAutoreconf { environment["ACLOCAL_PATH"] = "/ro/share/aclocal" }
    return SystemPlan(steps: steps, environment: environment)
  }
}
