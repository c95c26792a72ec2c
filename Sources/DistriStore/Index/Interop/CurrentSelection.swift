// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Which packages the store's current generation names, as a view wants to know it: read without parsing names.
package struct CurrentSelection: Sendable {
  /// Of the generation's bytes.
  package let checksum: UInt64
  /// The ``mix(_:)`` of each full name.
  private let names: Set<UInt64>

  /// Whether the generation names a package.
  ///
  /// - Parameter key: the ``mix(_:)`` of its full name.
  package func contains(_ key: UInt64) -> Bool { names.contains(key) }

  /// What a store says that it shows.
  package enum State: Sendable {
    /// It has no generation: everything.
    case everything
    /// What a generation names.
    case selected(CurrentSelection)
    /// There is a generation, but it cannot be read.
    case unreadable(StoreError)
  }

  private static let header = Array("distri-generation 1\n".utf8)
  private static let end = Array("\nend\n".utf8)
  private static let record = Array("package ".utf8)

  /// Reads what is current. A store without generations costs one system call.
  package static func state(of store: LocalStore) -> State {
    let generations = store.generations
    for _ in 0..<20 {
      let number: UInt64
      do throws(StoreError) {
        guard let current = try generations.currentNumber() else { return .everything }
        number = current
        let file = generations.path.appending("\(number)")
        let bytes = try OwnedDescriptor(reading: file).contents(limit: Generation.maximumByteCount + 1, path: file)
        guard let selection = CurrentSelection(bytes) else {
          return .unreadable(
            .invalidMetadata(of: file.string, line: nil, reason: "it is no generation that this distri understands"))
        }
        return .selected(selection)
      } catch {
        // It was switched and collected under our hands.
        if case .system(_, _, .noSuchFileOrDirectory) = error, (try? Self.isDangling(generations)) != true { continue }
        return .unreadable(error)
      }
    }
    return .everything
  }

  private static func isDangling(_ generations: Generations) throws(StoreError) -> Bool {
    guard let number = try generations.currentNumber() else { return false }
    return try !generations.numbers().contains(number)
  }

  private init?(_ bytes: [UInt8]) {
    guard bytes.count <= Generation.maximumByteCount, bytes.starts(with: Self.header),
      bytes.suffix(Self.end.count).elementsEqual(Self.end)
    else { return nil }
    var names: Set<UInt64> = []
    unsafe bytes.withUnsafeBytes { buffer in
      var start = 0
      while start < buffer.count {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[start...])
        let length = unsafe rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.count
        if unsafe length > Self.record.count && rest.starts(with: Self.record) {
          unsafe names.insert(mix(UnsafeRawBufferPointer(rebasing: rest[Self.record.count..<length])))
        }
        start += length + 1
      }
    }
    self.names = names
    checksum = unsafe bytes.withUnsafeBytes { unsafe mix($0) }
  }
}
