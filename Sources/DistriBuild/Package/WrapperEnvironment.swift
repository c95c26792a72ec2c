// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Which variables the wrappers of a package set.
///
/// | variable | for | lists |
/// |---|---|---|
/// | `PERL5LIB` | perl scripts; programs that embed perl | module directories of the package and its closure; for `perl` itself its own, behind what is set |
/// | `PYTHONPATH` | python scripts | `site-packages` and `dist-packages` of the package and its closure, those of python itself left out |
/// | `TERMINFO_DIRS` | programs linked to ncurses | terminal descriptions of the closure |
/// | `MAGIC` | programs linked to libmagic | file's database of the closure |
/// | `XDG_DATA_DIRS` | programs linked to GIO | `share` of what has schemas, MIME types or icons |
/// | `GI_TYPELIB_PATH` | scripts | typelib directories of the package and its closure |
///
/// `PATH` is never touched, nor what the C library reads for itself (`GCONV_PATH`, `LOCPATH`): programs from elsewhere that are
/// started by ours would load files of another C library. The links of FORMATS section 4 lead it to its files.
struct WrapperEnvironment: Sendable {
  /// Whether programs find their files relative to `argv[0]`.
  let looksBesideItself: Bool
  private let isPerl: Bool
  private let embedsPerl: Bool
  private let perlModules: [String]
  private let perlCore: [String]
  private let pythonModules: [String]
  private let byLibrary: [WrapperStub.Variable]
  private let typelibs: [String]

  init(of package: PackageID, tree: PackageTree, closure: PackageSet, libraries: Set<String>) throws {
    let packages =
      [(package, tree as any PackageContents)]
      + closure.packages.filter { $0 != package }.compactMap { other in
        closure[other].map { (other, $0) }
      }
    let search = DirectorySearch(packages: packages)
    let own = DirectorySearch(packages: Array(packages.prefix(1)))
    func links(to start: String) -> Bool { libraries.contains { $0.hasPrefix(start) } }

    perlCore = try own.directories(Self.perlCoreDirectories)
    isPerl = !perlCore.isEmpty && tree.kind(of: PackageLayout.path("out/bin/perl")) != nil
    embedsPerl = links(to: "libperl.so") && !isPerl
    perlModules = try search.directories(Self.perlModuleDirectories)
    pythonModules = try search.directories(Self.pythonModuleDirectories) { contents in
      try contents.names(in: PackageLayout.path("out/bin")).contains { $0.description == "python3" }
    }
    typelibs = try search.directories(["out/lib/girepository-1.0", "out/lib/*-linux-gnu/girepository-1.0"])
    looksBesideItself = try !own.directories(Self.relocatable).isEmpty

    var variables: [WrapperStub.Variable] = []
    func add(_ name: String, _ directories: [String], defaultValue: String = "") {
      guard !directories.isEmpty else { return }
      variables.append(.init(name: name, front: directories.joined(separator: ":"), defaultValue: defaultValue))
    }
    if links(to: "libtinfo") || links(to: "libncurses") {
      add("TERMINFO_DIRS", try search.directories(["out/share/terminfo", "out/lib/terminfo"]))
    }
    if links(to: "libmagic.so") {
      add("MAGIC", Array(try search.existing(["out/share/misc/magic.mgc", "out/lib/file/magic.mgc"]).prefix(1)))
    }
    if links(to: "libgio-2.0.so") {
      let marks = ["glib-2.0/schemas", "mime", "icons"].map { "out/share/\($0)" }
      add(
        "XDG_DATA_DIRS", try search.directories(["out/share"]) { try !$0.hasAny(of: marks) },
        defaultValue: "/usr/local/share:/usr/share")
    }
    byLibrary = variables
  }

  /// The changes for one program; `interpreter` is the last component of a script's.
  func variables(interpreter: String?, program: String) -> [WrapperStub.Variable] {
    var result = byLibrary
    func add(_ name: String, _ directories: [String]) {
      if !directories.isEmpty { result.append(.init(name: name, front: directories.joined(separator: ":"))) }
    }
    if isPerl, interpreter == nil, program.hasPrefix("perl") {
      // Behind: a script's own modules may be newer than those that come with perl.
      result.append(.init(name: "PERL5LIB", back: perlCore.joined(separator: ":")))
    } else if embedsPerl || interpreter?.hasPrefix("perl") == true {
      add("PERL5LIB", perlModules)
    }
    if interpreter?.hasPrefix("python") == true { add("PYTHONPATH", pythonModules) }
    if interpreter != nil { add("GI_TYPELIB_PATH", typelibs) }
    return result
  }

  /// Debian's perl looks in `/usr`; one that was built here knows its prefix, and naming its directories again does no harm.
  private static let perlCoreDirectories = [
    "out/lib/*-linux-gnu/perl-base", "out/lib/*-linux-gnu/perl/5.*", "out/share/perl/5.*",
  ]
  private static let perlModuleDirectories = [
    "out/lib/*-linux-gnu/perl5/5.*", "out/share/perl5", "out/lib/perl5",
  ]
  private static let pythonModuleDirectories = ["out/lib/python3*/site-packages", "out/lib/python3*/dist-packages"]
  private static let relocatable = [
    "out/lib/gcc", "out/libexec/gcc", "out/lib/python3*", "out/lib/bfd-plugins", "out/lib/clang", "out/lib/llvm*", "out/lib/ruby",
    "out/lib/tcl*", "out/lib/jvm", "out/lib/swift", "out/share/texmf*",
  ]
}

/// Finds directories in packages, by patterns in which `*` stands for any part of a name.
private struct DirectorySearch {
  let packages: [(PackageID, any PackageContents)]

  /// The paths in the view of what is there as a directory and no link, package by package.
  func directories(_ patterns: [String], except: (any PackageContents) throws -> Bool = { _ in false }) throws -> [String] {
    var result: [String] = []
    for (package, contents) in packages where try !except(contents) {
      for pattern in patterns {
        for path in try matches(of: pattern, in: contents) where try contents.kind(of: path) == .directory {
          result.append(PackageLayout.inView(path, of: package))
        }
      }
    }
    return result
  }

  /// The paths in the view of what is there as a file.
  func existing(_ paths: [String]) throws -> [String] {
    var result: [String] = []
    for (package, contents) in packages {
      for text in paths {
        let path = try TreePath(parsing: text)
        if try contents.kind(of: path) == .file { result.append(PackageLayout.inView(path, of: package)) }
      }
    }
    return result
  }

  private func matches(of pattern: String, in contents: any PackageContents) throws -> [TreePath] {
    var paths = [TreePath.root]
    for part in pattern.split(separator: "/") {
      if part.contains("*") {
        let glob = Wildcard(String(part))
        paths = try paths.flatMap { directory in
          try contents.names(in: directory).filter { glob.matches($0.description) }.map(directory.appending)
        }
      } else {
        let name = try EntryName(String(part))
        paths = paths.map { $0.appending(name) }
      }
    }
    return paths
  }
}

extension PackageContents {
  fileprivate func hasAny(of paths: [String]) throws -> Bool {
    for path in paths where try kind(of: TreePath(parsing: path)) != nil { return true }
    return false
  }
}
