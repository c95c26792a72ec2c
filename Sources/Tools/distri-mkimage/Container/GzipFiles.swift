// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import SystemPackage

/// Compresses files by gzip, several at once. The compressed bytes depend on the file and on gzip only.
struct GzipFiles: ~Copyable {
  /// What has become of a file.
  struct Compressed {
    /// SHA-256 digests in hexadecimal digits: of what was compressed, and of the compressed file.
    var contentDigest: String
    var digest: String
    /// Of the compressed file.
    var byteCount: UInt64
  }

  private struct Running {
    let process: ChildProcess
    let source: FilePath
    let output: FilePath
    var contentDigest = ""
  }

  private let gzip: FilePath
  private var running: [Running] = []
  private var done: [Compressed] = []

  /// - Throws: ``MkimageError/missingTool(_:package:)``.
  init() throws(MkimageError) { gzip = try ChildProcess.locate("gzip", package: "gzip") }

  deinit {
    // Only after an error: what they write to goes.
    for child in running { _ = child.process.wait() }
  }

  /// Starts to compress a file, which goes when that is done.
  ///
  /// - Throws: as ``finish()``, of one that was started before.
  mutating func add(_ source: FilePath, to output: FilePath) throws {
    if running.count >= ProcessInfo.processInfo.activeProcessorCount { try finishFirst() }
    let input = try FileDescriptor.open(source, .readOnly, options: .closeOnExec)
    defer { try? input.close() }
    let file = try FileDescriptor.open(
      output, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
      permissions: [.ownerReadWrite, .groupRead, .otherRead])
    defer { try? file.close() }
    // Without the name and the time of the file.
    let process = try ChildProcess(gzip, ["-n", "-c"], descriptors: [0: input.rawValue, 1: file.rawValue])
    running.append(Running(process: process, source: source, output: output))
    // While it is at work.
    let hashed = try FileDescriptor.open(source, .readOnly, options: .closeOnExec)
    defer { try? hashed.close() }
    running[running.count - 1].contentDigest = try hashed.digest()
  }

  /// Waits for all.
  ///
  /// - Returns: what has become of the files, in the order in which they were added.
  /// - Throws: ``MkimageError/toolFailed(_:status:words:)``.
  mutating func finish() throws -> [Compressed] {
    while !running.isEmpty { try finishFirst() }
    return done
  }

  private mutating func finishFirst() throws {
    let first = running.removeFirst()
    let status = first.process.wait()
    guard status == 0 else {
      throw MkimageError.toolFailed(gzip.string, status: status, words: "compressing \(first.source.lastComponent?.string ?? "")")
    }
    let file = try FileDescriptor.open(first.output, .readOnly, options: .closeOnExec)
    defer { try? file.close() }
    done.append(
      Compressed(
        contentDigest: first.contentDigest, digest: try file.digest(), byteCount: UInt64(try file.seek(offset: 0, from: .end))))
    try FileManager.default.removeItem(atPath: first.source.string)
  }
}
