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

    /// Makes a job.
    public init(path: FilePath, interpreter: String? = nil, runpath: String? = nil) {
      self.path = path
      self.interpreter = interpreter
      self.runpath = runpath
    }
  }

  private let program: String

  /// - Parameter program: `patchelf`, searched in `PATH`.
  public init(program: String = "patchelf") { self.program = program }

  /// How many files one run of patchelf gets: a run costs more than a file.
  private static let batch = 32

  /// Changes the files one after the other, those that get the same in one run of the program.
  ///
  /// - Throws: ``BuildError/tool(_:reason:)`` when patchelf is missing or fails.
  public func rewrite(_ jobs: [Job]) throws(BuildError) {
    var groups: [Job: [FilePath]] = [:]
    for job in jobs where job.interpreter != nil || job.runpath != nil {
      groups[Job(path: "", interpreter: job.interpreter, runpath: job.runpath), default: []].append(job.path)
    }
    for (what, paths) in groups {
      var options: [String] = []
      if let interpreter = what.interpreter { options += ["--set-interpreter", interpreter] }
      if let runpath = what.runpath { options += ["--set-rpath", runpath] }
      for start in stride(from: 0, to: paths.count, by: Self.batch) {
        let files = paths[start..<min(start + Self.batch, paths.count)].map(\.string)
        _ = try HostCommand(program: program, arguments: options + files, package: "patchelf").runBlocking()
      }
    }
  }
}
