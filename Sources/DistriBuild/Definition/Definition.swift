// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// How a package is built: the content of its `build.textproto`.
///
/// Format: proto2 text, message `pb.Build`, FORMATS section 6, `docs/formats.md`. ``DefinitionFile`` reads and rewrites it. The
/// numbers of the fields are given with each property.
public struct Definition: Sendable, Hashable {
  /// The package's name, which is the name of the definition's directory.
  public var name: String
  /// Where the source comes from [1]: a URL, or `empty://`.
  public var source = ""
  /// SHA-256 of the source archive [2], hexadecimal; may be empty for `empty://` only.
  public var hash = ""
  /// `<upstream>-<revision>` [3].
  public var version = ""
  /// The definition's own steps [4]; without any, the builder has its usual ones.
  public var steps: [[String]] = []
  /// Build dependencies beside those that the builder implies [5].
  public var dependencies: [String] = []
  /// Patch files beside the definition, applied with `-p1` [6].
  public var patches: [String] = []
  /// How upstream is built [7, 10, 12, 13, 14, 16, 18].
  public var builder: Builder?
  /// What is done with the installed files [8].
  public var install = InstallInstructions()
  /// Run-time dependencies beside those that are found [9].
  public var runtimeDependencies: [String] = []
  /// Packages that get a part of the files [11].
  public var splitPackages: [SplitPackage] = []
  /// Directories of other packages that this one adds entries to [15].
  public var runtimeUnions: [RuntimeUnion] = []
  /// Files beside the definition that are copied into the source [17].
  public var extraFiles: [String] = []
  /// How a new upstream version is found [19].
  public var pull: Pull?
  /// Whether steps may write to the source [20].
  public var hasWritableSource = false
  /// Whether the steps run in the source [21].
  public var buildsInTree = false
  /// Why the package has no debug symbols, where that is meant [22].
  public var missingDebugSymbolsReason = ""
  /// SPDX licence expression, such as `GPL-3.0-or-later` [extension 1000].
  public var license = ""
  /// One line that says what the package is [extension 1001].
  public var summary = ""
  /// Upstream's page [extension 1002].
  public var homepage = ""

  /// Makes an empty definition.
  public init(name: String) { self.name = name }

  /// How upstream wants to be built.
  public enum Builder: Sendable, Hashable {
    /// `configure` and `make`.
    case c(C)
    /// `Makefile.PL` or `Build.PL`, and flags for it.
    case perl(extraMakefileFlags: [String])
    /// `setup.py` or `pyproject.toml`.
    case python
    /// A Go module, as a source for other builds.
    case goModule
    /// `CMakeLists.txt`.
    case cmake(extraFlags: [String])
    /// `meson.build`.
    case meson(extraFlags: [String])
    /// Go programs.
    case go(Go)

    /// The options of the c builder.
    public struct C: Sendable, Hashable {
      /// For `configure`.
      public var extraConfigureFlags: [String] = []
      /// Behind the usual `LDFLAGS`.
      public var extraLinkerFlags: [String] = []
      /// For `make` and `make install`.
      public var extraMakeFlags: [String] = []
      /// Whether `autoreconf` runs first.
      public var runsAutoreconf = false
      /// Makes the usual options.
      public init() {}
    }

    /// The options of the go builder.
    public struct Go: Sendable, Hashable {
      /// The packages to install, patterns of the go command, in each entry one or several with spaces between; none for `./...`.
      public var install: [String] = []
      /// The module's import path, for a source without `go.mod`.
      public var importPath = ""
      /// Environment for `go`, as `NAME=value`.
      public var environment: [String] = []
    }

    /// The name of the field in a definition.
    public var fieldName: String {
      switch self {
      case .c: "cbuilder"
      case .perl: "perlbuilder"
      case .python: "pythonbuilder"
      case .goModule: "gomodbuilder"
      case .cmake: "cmakebuilder"
      case .meson: "mesonbuilder"
      case .go: "gobuilder"
      }
    }
  }

  /// Files that a step of the definition leaves for another package.
  public struct SplitPackage: Sendable, Hashable {
    /// The other package's name.
    public var name = ""
    /// Its run-time dependencies.
    public var runtimeDependencies: [String] = []
    /// What it gets.
    public var claims: [Claim] = []

    /// Files that match a pattern.
    public struct Claim: Sendable, Hashable {
      /// Path from the package's root with `*`, `?`, `[a-z]` and `[^a-z]` as in Go's `filepath.Match`, such as `out/lib/libudev.so*`.
      public var glob = ""
      /// The directory in the other package; empty: the same as here.
      public var directory = ""
    }
  }

  /// An overlay of `out/<directory>` of this package on that of another.
  public struct RuntimeUnion: Sendable, Hashable {
    /// Below `out`.
    public var directory = ""
    /// The other package's name.
    public var package = ""
  }

  /// Where new upstream versions are announced.
  public struct Pull: Sendable, Hashable {
    /// Debian source packages that follow the same upstream.
    public var debianPackages: [String] = []
    /// A page that lists releases.
    public var releasesURL = ""
    /// Finds a release in it.
    public var releaseRegularExpression = ""
    /// Makes a version of what was found.
    public var replacements: [Replacement] = []
    /// Whether versions are compared as semantic versions.
    public var forcesSemanticVersions = false

    /// A regular expression and what its matches become.
    public struct Replacement: Sendable, Hashable {
      /// What is replaced.
      public var expression = ""
      /// By what.
      public var replacement = ""
    }
  }
}

/// What is done with the files after the steps; paths of results are below `out`.
public struct InstallInstructions: Sendable, Hashable {
  /// Units of systemd, copied from the source into `lib/systemd/system` [1].
  public var systemdUnits: [String] = []
  /// Symbolic links [2].
  public var symbolicLinks: [Link] = []
  /// Directories that must exist [3].
  public var emptyDirectories: [String] = []
  /// Changes of modes [4].
  public var modes: [Mode] = []
  /// Capabilities of files [5].
  public var capabilities: [Capability] = []
  /// Files copied from the source [6].
  public var files: [File] = []
  /// Files that are moved [7].
  public var renames: [Link] = []
  /// Files that are removed [8].
  public var deletions: [String] = []

  /// Makes instructions that do nothing.
  public init() {}

  /// An old and a new name: of a link what it leads to and where it is.
  public struct Link: Sendable, Hashable {
    /// The target of a link; what is moved.
    public var oldName = ""
    /// The place of a link; where it is moved.
    public var newName = ""
  }

  /// A change of a file's mode.
  public struct Mode: Sendable, Hashable {
    /// Whether the file runs as its owner.
    public var setsUserID = false
    /// The file.
    public var name = ""
  }

  /// Capabilities of a file in the words of `setcap`.
  public struct Capability: Sendable, Hashable {
    /// The file.
    public var filename = ""
    /// Such as `cap_net_admin=ep`.
    public var capability = ""
  }

  /// A file of the source and where it goes.
  public struct File: Sendable, Hashable {
    /// In the source.
    public var source = ""
    /// Below `out`.
    public var destination = ""
  }
}

extension Definition {
  /// What the definition builds for an architecture.
  ///
  /// - Throws: ``StoreError/invalidName(_:_:)`` when name and version make no full name.
  public func package(for architecture: Architecture) throws(StoreError) -> PackageID {
    try PackageID(parsing: "\(name)-\(architecture)-\(version)")
  }

  /// The packages beside the main one, by the names of their definitions' entries.
  ///
  /// - Throws: as ``package(for:)``.
  public func splitPackage(_ split: SplitPackage, for architecture: Architecture) throws(StoreError) -> PackageID {
    try PackageID(parsing: "\(split.name)-\(architecture)-\(version)")
  }

  /// All packages that the definition builds for an architecture, its own first.
  ///
  /// - Throws: as ``package(for:)``.
  public func packages(for architecture: Architecture) throws(StoreError) -> [PackageID] {
    var result = [try package(for: architecture)]
    for split in splitPackages { result.append(try splitPackage(split, for: architecture)) }
    return result
  }
}
