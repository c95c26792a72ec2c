// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import DistriStore
import SystemPackage

/// A directory of `.deb` files, each verified before it is used.
struct DebCache: Sendable {
  let directory: FilePath

  /// Where the package's file is or will be.
  func path(of record: DebianRecord) -> FilePath { directory.appending(record.fileName) }

  /// The packages whose file is not here, or is another one.
  func missing(_ records: [DebianRecord]) async throws -> [DebianRecord] {
    let states = try await onThreads(records, width: processorCount) { record in
      path(of: record).exists ? try sha256(of: path(of: record)) == record.sha256 : false
    }
    return zip(records, states).filter { !$1 }.map(\.0)
  }

  /// Fetches packages from the archive, some at a time, and takes them in once they are whole.
  ///
  /// - Parameter progress: called with the number of bytes that have come.
  /// - Throws: ``BuildError/source(_:reason:)`` for a file that is not what index or lock say; what apt throws.
  func fetch(
    _ records: [DebianRecord], from archive: AptArchive, progress: @escaping @Sendable (DebianRecord) -> Void
  ) async throws {
    let incoming = directory.appending(".incoming")
    try incoming.makeDirectories()
    // The largest first, so that no large one comes alone at the end.
    let sorted = records.sorted { ($0.byteCount, $1.name) > ($1.byteCount, $0.name) }
    let lanes = 4
    try await withThrowingTaskGroup(of: Void.self) { group in
      for lane in 0..<lanes {
        let mine = stride(from: lane, to: sorted.count, by: lanes).map { sorted[$0] }
        group.addTask {
          for start in stride(from: 0, to: mine.count, by: 4) {
            let batch = Array(mine[start..<min(start + 4, mine.count)])
            try await archive.download(batch, into: incoming)
            for record in batch {
              try takeIn(record, from: incoming)
              progress(record)
            }
          }
        }
      }
      try await group.waitForAll()
    }
  }

  private func takeIn(_ record: DebianRecord, from incoming: FilePath) throws {
    let file = incoming.appending(record.fileName)
    let found = try sha256(of: file)
    guard found == record.sha256 else {
      throw BuildError.source(
        "\(record.name) \(record.version)",
        reason: "has SHA-256 \(found) in the archive, \(record.sha256) was expected; if the archive is trusted, use --update-lock")
    }
    try file.rename(to: path(of: record))
  }

  private func sha256(of path: FilePath) throws(BuildError) -> String {
    do {
      let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .noFollow])
      return try file.closeAfter {
        var hash = SHA256(), offset: UInt64 = 0
        while true {
          let bytes = try file.bytes(at: offset, atMost: 1 << 20)
          if bytes.isEmpty { return hexadecimal(hash.finalize()) }
          hash.update(data: bytes)
          offset += UInt64(bytes.count)
        }
      }
    } catch {
      throw .system(operation: "read", path: path, error as? Errno ?? .ioError)
    }
  }
}

/// Lower-case hexadecimal digits of a digest.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  let digits = Array("0123456789abcdef")
  return bytes.reduce(into: "") { text, byte in
    text.append(digits[Int(byte >> 4)])
    text.append(digits[Int(byte & 15)])
  }
}
