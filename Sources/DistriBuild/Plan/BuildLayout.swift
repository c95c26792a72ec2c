// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Where things are while a package is built, in the sandbox and outside.
public struct BuildLayout: Sendable, Hashable {
  /// The package that is built.
  public var package: PackageID
  /// The definition's directory, outside.
  public var definition: FilePath
  /// The unpacked source, outside.
  public var source: FilePath
  /// What becomes the sandbox's build directory, outside.
  public var build: FilePath
  /// What becomes `DESTDIR`, outside.
  public var destination: FilePath
  /// Links to the shared libraries of the dependencies, outside.
  public var libraries: FilePath
  /// Where debug symbols are put, outside; the steps do not see it.
  public var debug: FilePath
  /// Whether the steps run in the source.
  public var buildsInTree: Bool
  /// How many jobs a step may start at once.
  public var jobs: Int

  /// Makes a layout below a directory of the build's own.
  public init(
    package: PackageID, definition: FilePath, below directory: FilePath, buildsInTree: Bool = false, jobs: Int = 1
  ) {
    self.package = package
    self.definition = definition
    source = directory.appending("source")
    build = directory.appending("build")
    destination = directory.appending("dest")
    libraries = directory.appending("lib")
    debug = directory.appending("debug")
    self.buildsInTree = buildsInTree
    self.jobs = jobs
  }

  /// Where the package will be: `/ro/<name>`.
  public var home: FilePath { FilePath("/ro/\(package)") }
  /// What `make install` gets as its prefix.
  public var prefix: FilePath { home.appending("out") }
  /// `DESTDIR` in the sandbox.
  public var insideDestination: FilePath { "/dest/tmp" }
  /// The source in the sandbox.
  public var insideSource: FilePath { FilePath("/usr/src/\(package)") }
  /// Where the steps run in the sandbox.
  public var insideBuild: FilePath { buildsInTree ? insideSource : "/build" }
  /// `LD_LIBRARY_PATH` in the sandbox.
  ///
  /// One directory: the loader asks in each directory of that path for each library of each program that starts, which with a
  /// directory per dependency takes longer than most programs of a build run.
  public var insideLibraries: FilePath { "/run/lib" }
  /// What the steps install for `home`, outside.
  public var installed: FilePath { destination.appending("ro").appending(package.description) }

  /// The name of the machine as `configure` takes it.
  public var configureHost: String {
    switch package.architecture {
    case .amd64: "x86_64-pc-linux-gnu"
    case .i686: "i686-pc-linux-gnu"
    case .arm64: "aarch64-unknown-linux-gnu"
    }
  }
}

/// The variables that steps, install instructions and wrappers may use. Others, such as those of a shell, stay as they are.
public struct Variables: Sendable {
  private let values: [String: String]
  private let dependencies: [PackageID]
  private let definition: String

  /// Makes the variables of a build.
  public init(layout: BuildLayout, dependencies: [PackageID]) {
    values = [
      "DISTRI_DESTDIR": layout.insideDestination.string, "DISTRI_PREFIX": layout.prefix.string,
      "DISTRI_BUILDDIR": layout.insideBuild.string, "DISTRI_SOURCEDIR": layout.insideSource.string,
      "DISTRI_FULLNAME": layout.package.description, "DISTRI_JOBS": String(layout.jobs),
      "DISTRI_CONFIGURE_HOST": layout.configureHost,
    ]
    self.dependencies = dependencies
    definition = layout.package.name
  }

  /// Replaces `${DISTRI_…}` and `${DISTRI_RESOLVE:<package>}` by their values.
  ///
  /// - Throws: ``BuildError/missingDependency(_:of:)`` for a package to resolve that is no dependency.
  public func expand(_ text: String) throws(BuildError) -> String {
    var result = ""
    var rest = text[...]
    while let start = rest.firstRange(of: "${"), let end = rest[start.upperBound...].firstIndex(of: "}") {
      let name = rest[start.upperBound..<end]
      result += rest[..<start.lowerBound]
      if let value = try value(of: name) {
        result += value
        rest = rest[rest.index(after: end)...]
      } else {
        result += "${"
        rest = rest[start.upperBound...]
      }
    }
    return result + rest
  }

  private func value(of name: Substring) throws(BuildError) -> String? {
    if let value = values[String(name)] { return value }
    let resolve = "DISTRI_RESOLVE:"
    guard name.hasPrefix(resolve) else { return nil }
    let wanted = String(name.dropFirst(resolve.count))
    guard let query = try? PackageQuery(parsing: wanted), let package = query.newest(of: dependencies) else {
      throw .missingDependency(wanted, of: definition)
    }
    return package.description
  }
}
