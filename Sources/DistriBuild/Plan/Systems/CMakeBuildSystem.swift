// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The cmake builder: `cmake` with ninja.
struct CMakeBuildSystem: BuildSystem {
  let extraFlags: [String]

  func implicitDependencies(of definition: Definition, for architecture: Architecture) -> [BuildDependency] {
    BuildDependency.toolchain + ["cmake", "ninja"].map { BuildDependency($0) }
  }

  func plan(_ definition: Definition, in layout: BuildLayout, with dependencies: [PackageID]) throws -> SystemPlan {
    let configure =
      [
        "cmake", "-S", "${DISTRI_SOURCEDIR}", "-B", ".", "-G", "Ninja", "-DCMAKE_INSTALL_PREFIX:PATH=${DISTRI_PREFIX}",
        "-DCMAKE_INSTALL_LIBDIR:PATH=lib", "-DCMAKE_INSTALL_SYSCONFDIR:PATH=/etc",
        // Optimised, with what debuggers need. Without a type, cmake asks the compiler for neither.
        "-DCMAKE_BUILD_TYPE:STRING=RelWithDebInfo", "-DCMAKE_VERBOSE_MAKEFILE:BOOL=ON",
        // What a build finds must not depend on who else has built on this machine.
        "-DCMAKE_EXPORT_NO_PACKAGE_REGISTRY:BOOL=ON", "-DCMAKE_FIND_USE_PACKAGE_REGISTRY:BOOL=OFF",
      ] + extraFlags
    return SystemPlan(
      steps: [configure, ["ninja", "-v", "-j", "${DISTRI_JOBS}"], ["ninja", "install"]],
      environment: ["DESTDIR": "${DISTRI_DESTDIR}", "CMAKE_PREFIX_PATH": Self.prefixes(dependencies)])
  }

  /// Where `find_package` and its kin look. Not at what the compiler has anyway: a directory of the C library's headers among the
  /// `-isystem` ones comes before C++'s own and breaks its `include_next`.
  private static func prefixes(_ dependencies: [PackageID]) -> String {
    let ofCompiler: Set<String> = ["glibc", "gcc", "gcc-libs", "linux", "musl"]
    return dependencies.filter { !ofCompiler.contains($0.name) }.map { "/ro/\($0)/out" }.joined(separator: ":")
  }
}
