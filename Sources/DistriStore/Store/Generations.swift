// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// The generations of a store: `<store>/.generations`, a file each under its number, and `current`, a link to one of them.
///
/// Reading takes no lock. New ones are made by ``LocalStore/transaction(making:_:)``.
public struct Generations: Sendable {
  static let directoryName = ".generations"
  static let currentName = "current"
  /// So often a reader looks again when what was current has gone before it was read.
  private static let attempts = 20

  /// Where they lie.
  public let path: FilePath

  /// Those of a store. Sections other than that of the packages have none.
  public init(of store: LocalStore) {
    path = store.path.appending(Self.directoryName)
  }

  /// The number of the current one; nil when the store has no generation.
  ///
  /// - Throws: ``StoreError/invalidMetadata(of:line:reason:)`` when the link is none to a generation;
  ///   ``StoreError/system(operation:path:_:)``.
  public func currentNumber() throws(StoreError) -> UInt64? {
    guard let directory = try open() else { return nil }
    return try Self.currentNumber(in: directory)
  }

  /// The current one; nil when the store has no generation.
  ///
  /// - Throws: as ``currentNumber()`` and ``generation(_:)``.
  public func current() throws(StoreError) -> Generation? {
    for _ in 0..<Self.attempts {
      guard let number = try currentNumber() else { return nil }
      do throws(StoreError) { return try generation(number) } catch {
        // Another one became current, and a collector was quick. Not if it still is.
        guard case .noGeneration = error, try currentNumber() != number else { throw error }
      }
    }
    throw .noGeneration(try currentNumber(), in: path.removingLastComponent())
  }

  /// The numbers of all that are there, ascending.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)``.
  public func numbers() throws(StoreError) -> [UInt64] {
    guard let directory = try open() else { return [] }
    return try Self.numbers(in: directory)
  }

  /// Reads one.
  ///
  /// - Throws: ``StoreError/noGeneration(_:in:)``; ``StoreError/invalidMetadata(of:line:reason:)``;
  ///   ``StoreError/system(operation:path:_:)``.
  public func generation(_ number: UInt64) throws(StoreError) -> Generation {
    let file = path.appending("\(number)")
    let bytes: [UInt8]
    do throws(StoreError) {
      bytes = try OwnedDescriptor(reading: file).contents(limit: Generation.maximumByteCount + 1, path: file)
    } catch {
      if case .system(_, _, .noSuchFileOrDirectory) = error {
        throw .noGeneration(number, in: path.removingLastComponent())
      }
      throw error
    }
    let generation = try Generation(text: bytes, subject: file.string)
    guard generation.number == number else {
      throw .invalidMetadata(of: file.string, line: 2, reason: "it is number \(generation.number), not \(number)")
    }
    return generation
  }

  // MARK: Inside

  private func open() throws(StoreError) -> DirectoryHandle? {
    do throws(StoreError) { return try DirectoryHandle(opening: path) } catch {
      if case .system(_, _, .noSuchFileOrDirectory) = error { return nil }
      throw error
    }
  }

  static func currentNumber(in directory: DirectoryHandle) throws(StoreError) -> UInt64? {
    let name = try EntryName(currentName)
    let target: [UInt8]
    do throws(StoreError) { target = try directory.symbolicLinkTarget(of: name) } catch {
      if case .system(_, _, .noSuchFileOrDirectory) = error { return nil }
      throw .invalidMetadata(
        of: directory.path.appending(currentName).string, line: nil, reason: "it is no link; roll back to one of the generations")
    }
    guard let number = number(String(decoding: target, as: UTF8.self)) else {
      throw .invalidMetadata(
        of: directory.path.appending(currentName).string, line: nil,
        reason: "it leads to «\(String(decoding: target, as: UTF8.self).printable)»; roll back to one of the generations")
    }
    return number
  }

  static func numbers(in directory: DirectoryHandle) throws(StoreError) -> [UInt64] {
    try directory.names().compactMap { number($0.description) }.sorted()
  }

  /// A number as a file name has it, without sign and leading zeros.
  private static func number(_ text: String) -> UInt64? {
    guard let number = UInt64(text), number > 0, "\(number)" == text else { return nil }
    return number
  }
}

extension LocalStore {
  /// The store's generations.
  public var generations: Generations { Generations(of: self) }

  /// What is selected at this moment. Of a store that has packages but no generation, what it shows; nothing of one that is not there yet.
  ///
  /// - Throws: as ``Generations/current()`` and ``packages()``.
  public func selection() throws(StoreError) -> Generation.Selection {
    if let current = try generations.current() { return current.selection }
    do throws(StoreError) {
      return Generation.Selection(adopting: try packages()) { try? metadata(of: $0) }
    } catch {
      if case .system(_, path, .noSuchFileOrDirectory) = error { return Generation.Selection() }
      throw error
    }
  }
}
