// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The variables that lead compilers and programs to the dependencies of a build.
///
/// Directories are looked for in the usual places and, for packages imported from Debian, in those of its multiarch layout. What
/// was asked for comes first, then lower names, of a package's versions the newest; what is empty or absent is left out.
struct BuildEnvironment {
  let dependencies: PackageSet
  let architecture: Architecture

  /// The C library among the dependencies.
  var glibc: PackageID? { dependencies.packages.first { $0.name == "glibc" } }

  /// The path in the view of the program that loads programs; nil without a C library.
  func dynamicLinker() throws -> String? {
    guard let glibc, let contents = dependencies[glibc] else { return nil }
    let name =
      switch architecture {
      case .amd64: "ld-linux-x86-64.so.2"
      case .i686: "ld-linux.so.2"
      case .arm64: "ld-linux-aarch64.so.1"
      }
    for directory in ["out/lib", "out/lib64", "out/lib/\(triplet)"] {
      let path = try TreePath(parsing: "\(directory)/\(name)")
      if try contents.kind(of: path) != nil { return PackageLayout.inView(path, of: glibc) }
    }
    return nil
  }

  /// All of them.
  func variables(for layout: BuildLayout, extraLinkerFlags: [String]) throws -> [String: String] {
    let libraries = ["out/lib", "out/lib64", "out/lib/\(triplet)"]
    let includes = ["out/include", "out/include/\(triplet)"]
    var result = [
      "PATH": "/ro/bin:/bin",
      "PKG_CONFIG_PATH": try directories(libraries.map { $0 + "/pkgconfig" } + ["out/share/pkgconfig"]),
      // The C library's headers are the compiler's own system headers: C++ finds them by include_next.
      "CPATH": try directories(includes) { $0.name != "glibc" },
      "LIBRARY_PATH": try directories(libraries), "LD_LIBRARY_PATH": layout.insideLibraries.string,
      "PERL5LIB": try directories(["out/lib/perl5", "out/share/perl5"]), "PYTHONPATH": try pythonModules(),
    ].filter { !$0.value.isEmpty }
    var linkerFlags = ["-Wl,-rpath=\(layout.home.appending("lib"))"]
    if let linker = try dynamicLinker() { linkerFlags.append("-Wl,--dynamic-linker=\(linker)") }
    // With symbols for debuggers, which will see what was generated beside the source.
    let sources = layout.buildsInTree ? "" : " -ffile-prefix-map=\(layout.insideBuild)=\(layout.insideSource)"
    for name in ["CFLAGS", "CXXFLAGS"] { result[name] = "-g -O2\(sources)" }
    result["LDFLAGS"] = (linkerFlags + extraLinkerFlags).joined(separator: " ")
    return result
  }

  /// Debian's name of the machine in directory names.
  private var triplet: String {
    switch architecture {
    case .amd64: "x86_64-linux-gnu"
    case .i686: "i386-linux-gnu"
    case .arm64: "aarch64-linux-gnu"
    }
  }

  private func directories(_ paths: [String], where isWanted: (PackageID) -> Bool = { _ in true }) throws -> String {
    var result: [String] = []
    for package in dependencies.packages where isWanted(package) {
      for path in paths { result += try existing(path, in: package) }
    }
    return result.joined(separator: ":")
  }

  private func pythonModules() throws -> String {
    var result: [String] = []
    for package in dependencies.packages {
      guard let contents = dependencies[package] else { continue }
      for name in try contents.names(in: TreePath(parsing: "out/lib")) where name.description.hasPrefix("python3") {
        for modules in ["site-packages", "dist-packages"] { result += try existing("out/lib/\(name)/\(modules)", in: package) }
      }
    }
    return result.joined(separator: ":")
  }

  /// The path in the view, or nothing for an empty or absent directory.
  private func existing(_ text: String, in package: PackageID) throws -> [String] {
    guard let contents = dependencies[package], let path = try contents.resolve(TreePath(parsing: text), in: package),
      try contents.kind(of: path) == .directory, try !contents.names(in: path).isEmpty
    else { return [] }
    return [PackageLayout.inView(try TreePath(parsing: text), of: package)]
  }
}
