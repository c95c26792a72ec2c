// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// What ``Numbering`` has given out since the view was kept: a file without name, which the keeper holds for the next server.
final class NumberJournal: Sendable {
  private static let keeperName = "numbers"

  private let file: FileDescriptor

  /// Goes on with the one that the keeper has; nil when the system gives no memory.
  init?(_ keeper: any DescriptorKeeper) {
    let inherited = keeper.inherited[Self.keeperName].map { fcntl($0.rawValue, F_DUPFD_CLOEXEC, 3) }
    file = unsafe FileDescriptor(rawValue: inherited ?? clinux_memfd("distri-numbers"))
    guard file.rawValue >= 0 else { return nil }
    if inherited == nil { keeper.keep(file, as: Self.keeperName) }
  }

  deinit { try? file.close() }

  /// What the server before has noted.
  static func inherited(_ keeper: any DescriptorKeeper) -> [UInt8] {
    guard let file = keeper.inherited[keeperName] else { return [] }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = unsafe chunk.withUnsafeMutableBytes { buffer in
        unsafe pread(file.rawValue, buffer.baseAddress, buffer.count, off_t(bytes.count))
      }
      if count <= 0 { return bytes }
      bytes += chunk[..<count]
    }
  }

  /// Notes more, before anybody hears of it.
  func append(_ notes: [UInt8]) {
    if notes.isEmpty { return }
    _ = try? file.seek(offset: 0, from: .end)
    _ = try? file.writeAll(notes)
  }

  /// Forgets all: a view with these numbers is kept.
  func clear() { _ = ftruncate(file.rawValue, 0) }
}
