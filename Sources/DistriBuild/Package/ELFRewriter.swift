// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Gives ELF files another interpreter and another RUNPATH, by `patchelf`.
///
/// Files are changed in place, so further names of a file stay names of the same file; times, owners and attributes are not kept:
/// ``PackageTree`` has those.
public struct ELFRewriter: Sendable {
  /// One file to change.
  public struct Job: Sendable, Hashable {
    /// The file.
    public var path: FilePath
    /// The new interpreter; nil leaves it.
    public var interpreter: String?
    /// The new RUNPATH, directories joined by `:`; nil leaves it.
    public var runpath: String?
    /// Libraries that get absolute paths, by the names that the file needs them by. For files whose dynamic section must not grow.
    public var libraries: [String: String] = [:]

    /// Makes a job.
    public init(path: FilePath, interpreter: String? = nil, runpath: String? = nil) {
      self.path = path
      self.interpreter = interpreter
      self.runpath = runpath
    }

    /// Whether there is something to change.
    public var isEmpty: Bool { interpreter == nil && runpath == nil && libraries.isEmpty }
  }

  private let command: [String]

  /// The paths in the farm for what a program of Go needs; nothing for any other file.
  ///
  /// Go's linker leaves the dynamic section no room, and patchelf moves one that it adds a RUNPATH to into a segment that the loader cannot
  /// write to: such a program dies at once.
  static func libraries(of object: LibraryFarm.Object, in package: PackageID) -> [String: String] {
    guard object.elf.isGo, object.elf.kind == .executable else { return [:] }
    let directory = PackageLayout.inView(PackageLayout.lib, of: package)
    return Dictionary(object.elf.needed.map { ($0, "\(directory)/\($0)") }) { first, _ in first }
  }

  /// - Parameter command: `patchelf`, searched in `PATH`, or another way to run it.
  public init(command: [String] = ["patchelf"]) { self.command = command }

  /// How many files one run of patchelf gets: a run costs more than a file.
  private static let batch = 32

  /// Changes the files one after the other, those that get the same in one run of the program.
  ///
  /// - Throws: ``BuildError/tool(_:reason:)`` when patchelf is missing or fails.
  public func rewrite(_ jobs: [Job]) throws(BuildError) {
    var groups: [Job: [FilePath]] = [:]
    for var job in jobs where !job.isEmpty {
      let path = job.path
      job.path = ""
      groups[job, default: []].append(path)
    }
    for (what, paths) in groups {
      var options: [String] = []
      if let interpreter = what.interpreter { options += ["--set-interpreter", interpreter] }
      if let runpath = what.runpath { options += ["--set-rpath", runpath] }
      for (name, path) in what.libraries.sorted(by: { $0.key < $1.key }) { options += ["--replace-needed", name, path] }
      for start in stride(from: 0, to: paths.count, by: Self.batch) {
        let files = paths[start..<min(start + Self.batch, paths.count)].map(\.string)
        _ = try HostCommand(
          program: command[0], arguments: command.dropFirst() + options + files, package: "patchelf"
        ).runBlocking()
      }
    }
  }
}
