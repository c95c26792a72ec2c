// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The shared objects that programs of the host need to run elsewhere, found as the run-time linker would find them.
public struct SharedObjects: Sendable, Equatable {
  /// The run-time linker as programs name it, such as `/lib64/ld-linux-x86-64.so.2`; nil when all programs are static.
  public private(set) var interpreter: String?
  /// By the name under which they are needed; files with their links resolved.
  public private(set) var files: [String: FilePath] = [:]
  /// The directory, without links resolved, in which the C library was found: the linker searches it whatever a program says.
  public private(set) var systemDirectory: String?

  /// Finds the closure.
  ///
  /// - Parameters:
  ///   - directories: searched before those of the system.
  ///   - others: searched after them.
  /// - Throws: ``BuildError/missingObject(_:neededBy:)``; ``BuildError/tool(_:reason:)`` for what is no program;
  ///   ``BuildError/system(operation:path:_:)``.
  public init(of programs: [FilePath], searching directories: [FilePath] = [], then others: [FilePath] = []) throws(BuildError) {
    var open: [(path: FilePath, file: ELFFile)] = []
    for program in programs {
      guard let file = try ELFFile(path: program.resolved()) else { throw .tool(program.string, reason: "it is no ELF program") }
      interpreter = interpreter ?? file.interpreter
      open.append((program, file))
    }
    guard let interpreter else { return }
    let linker = FilePath(interpreter).lastComponent?.string
    while let (path, file) = open.popLast() {
      for name in file.needed where files[name] == nil && name != linker {
        let (found, library) = try Self.find(name, neededBy: path, file, searching: directories, then: others)
        files[name] = found.resolved()
        if name == "libc.so.6" { systemDirectory = found.removingLastComponent().string }
        open.append((found, library))
      }
    }
  }

  private static func find(
    _ name: String, neededBy user: FilePath, _ file: ELFFile, searching directories: [FilePath], then others: [FilePath]
  ) throws(BuildError) -> (FilePath, ELFFile) {
    let origin = user.removingLastComponent().string
    let own = file.searchPath.map { FilePath($0.replacing("${ORIGIN}", with: origin).replacing("$ORIGIN", with: origin)) }
    for directory in own + directories + systemDirectories(for: file.architecture) + others where directory.isAbsolute {
      let candidate = directory.appending(name)
      guard candidate.isReadable, let library = try ELFFile(path: candidate.resolved()) else { continue }
      if library.architecture == file.architecture { return (candidate, library) }
    }
    throw .missingObject(name, neededBy: user.string)
  }

  private static func systemDirectories(for architecture: Architecture?) -> [FilePath] {
    let triple =
      switch architecture {
      case .arm64: "aarch64-linux-gnu"
      case .i686: "i386-linux-gnu"
      case .amd64, nil: "x86_64-linux-gnu"
      }
    return ["/lib/\(triple)", "/usr/lib/\(triple)", "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"].map {
      FilePath($0)
    }
  }
}
