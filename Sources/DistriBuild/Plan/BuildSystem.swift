// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Knows how one kind of upstream is built: one conformer a builder.
public protocol BuildSystem: Sendable {
  /// What every build of this kind needs beside the definition's own dependencies.
  func implicitDependencies(of definition: Definition, for architecture: Architecture) -> [BuildDependency]
  /// The steps for a definition that has none of its own, and what goes with them. Variables are not yet expanded.
  ///
  /// - Throws: ``BuildError``.
  func plan(_ definition: Definition, in layout: BuildLayout, with dependencies: [PackageID]) throws -> SystemPlan
}

/// A package that a build needs.
public struct BuildDependency: Sendable, Hashable {
  /// The package's name.
  public var name: String
  /// Whether the build cannot do without. What is there anyway in the closure of something else, or only helps to find errors, is
  /// taken where the store has it.
  public var isRequired: Bool

  /// Makes a dependency.
  public init(_ name: String, isRequired: Bool = true) {
    self.name = name
    self.isRequired = isRequired
  }
}

/// What a builder adds to a build.
public struct SystemPlan: Sendable, Hashable {
  /// The usual steps.
  public var steps: [[String]]
  /// Environment of every step.
  public var environment: [String: String]
  /// Packages that the result needs to run, by name.
  public var runtimeDependencies: [String]

  /// Makes a plan.
  public init(steps: [[String]] = [], environment: [String: String] = [:], runtimeDependencies: [String] = []) {
    self.steps = steps
    self.environment = environment
    self.runtimeDependencies = runtimeDependencies
  }
}

extension SystemPlan {
  /// The step that brings the source into the build directory, for builders that write to it; none for a build in the source.
  static func copyOfSource(in layout: BuildLayout) -> [[String]] {
    layout.buildsInTree ? [] : [["cp", "--archive", "--no-target-directory", "${DISTRI_SOURCEDIR}", "."]]
  }
}

extension BuildDependency {
  /// What all builders that compile need.
  public static let toolchain: [BuildDependency] =
    [
      "bash", "coreutils", "sed", "grep", "gawk", "diffutils", "file", "pkg-config", "gcc", "binutils", "make", "glibc", "linux",
      "findutils",
    ].map { BuildDependency($0) }
    // In gcc's closure where they are packages of their own; for wrappers by a compiler; for a person who looks for an error.
    + ["gcc-libs", "mpc", "mpfr", "gmp", "musl", "strace"].map { BuildDependency($0, isRequired: false) }
}

extension Definition {
  /// What builds this definition.
  public func buildSystem() -> any BuildSystem {
    switch builder {
    case nil: OwnSteps()
    case .c(let options): CBuildSystem(options: options)
    case .perl(let extraFlags): PerlBuildSystem(extraFlags: extraFlags)
    case .python: PythonBuildSystem()
    case .goModule: GoModuleBuildSystem()
    case .cmake(let extraFlags): CMakeBuildSystem(extraFlags: extraFlags)
    case .meson(let extraFlags): MesonBuildSystem(extraFlags: extraFlags)
    case .go(let options): GoBuildSystem(options: options)
    }
  }
}

/// No builder at all: the definition brings its steps and names all of its dependencies.
struct OwnSteps: BuildSystem {
  func implicitDependencies(of definition: Definition, for architecture: Architecture) -> [BuildDependency] { [] }

  func plan(_ definition: Definition, in layout: BuildLayout, with dependencies: [PackageID]) throws -> SystemPlan {
    SystemPlan()
  }
}
