// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What a machine trusts of one repository: a directory of metadata files under their names without version.
///
/// Each file is replaced by a rename, and what a refresh has learnt is durable when it returns. Whatever a kill leaves is verified again
/// when it is read.
public struct TrustStore: Sendable {
  /// The directory.
  public let path: FilePath

  /// Names a directory, which may not exist.
  public init(path: FilePath) { self.path = path }

  /// The largest root, in bytes.
  static let maximumRootByteCount = 512 << 10

  /// Whether there is a root to start from.
  public var isInitialized: Bool { get throws(RepositoryError) { try Files.status(of: path(of: "root")) != nil } }

  /// Makes this the trusted root, which every later one is judged by. Makes the directory.
  ///
  /// - Parameter replacing: whether a root that is trusted already may be replaced. What else is there is verified by the new one.
  /// - Throws: ``RepositoryError/untrusted(file:_:)`` for what is no root that is signed by its own keys;
  ///   ``RepositoryError/system(operation:path:_:)``, with `EEXIST` where there is a root; `StoreError.locked`.
  @discardableResult
  public func initialize(root bytes: [UInt8], file: String, replacing: Bool = false) async throws -> RootMetadata {
    let trusted = try TrustedMetadata(root: bytes, file: file, now: .now)
    try Files.makeDirectories(path)
    try Files.synchronize(path.removingLastComponent().isEmpty ? "." : path.removingLastComponent())
    let lock = try await lock(timeLimit: .seconds(10))
    defer { try? lock.close() }
    guard try replacing || !isInitialized else {
      throw RepositoryError.system(operation: "trust another root than", path: path(of: "root"), .fileExists)
    }
    try save(bytes, as: "root")
    try synchronize()
    return trusted.root
  }

  /// The root that is trusted.
  ///
  /// - Throws: ``RepositoryError/untrusted(file:_:)``; ``RepositoryError/system(operation:path:_:)``.
  public func root() throws(RepositoryError) -> RootMetadata { try trusted(at: .now).root }

  func trusted(at now: UTCTime) throws(RepositoryError) -> TrustedMetadata {
    let file = path(of: "root")
    guard try isInitialized else { throw .untrusted(file: path.string, .notInitialized) }
    let bytes = try Files.contents(of: file, limit: Self.maximumRootByteCount)
    return try TrustedMetadata(root: bytes, file: file.string, now: now)
  }

  /// A file that was trusted when it was saved; nil when there is none, or it cannot be read.
  func bytes(of role: String, limit: UInt64) -> [UInt8]? {
    try? Files.contents(of: path(of: role), limit: Int(clamping: min(limit, 1 << 31)))
  }

  /// Replaces a file, whole at any time; durable after ``synchronize()``. Only under ``lock(timeLimit:)``.
  func save(_ bytes: [UInt8], as role: String) throws(RepositoryError) { try Files.replaceLazily(path(of: role), by: bytes) }

  /// Makes all that was saved durable.
  func synchronize() throws(RepositoryError) { try Files.synchronize(path) }

  /// The place of a role's file. Names of roles are any text; a file's name has no slash and no dot in front.
  func path(of role: String) -> FilePath {
    let name = role.quoted
    return path.appending((name.hasPrefix(".") ? "%2E" + name.dropFirst() : name) + ".json")
  }

  /// Excludes other processes until the descriptor is closed. Waits for them, but not without end.
  func lock(timeLimit: Duration) async throws -> FileDescriptor {
    let deadline = ContinuousClock.now + timeLimit
    while true {
      do {
        let lock = try Files.lock(path)
        do {
          try Files.removeLeftovers(in: path)
        } catch {
          try? lock.close()
          throw error
        }
        return lock
      } catch StoreError.locked where ContinuousClock.now < deadline {
        try await Task.sleep(for: .milliseconds(20))
      }
    }
  }
}

extension String {
  /// The text as a name of a file, the same for the same text: for a ``TrustStore`` of a repository's address.
  public var trustName: String {
    let name = quoted
    guard name.utf8.count > 200 || name.hasPrefix(".") else { return name }
    var digester = Digester()
    digester.update(Array(utf8))
    return digester.finish().hexadecimal
  }

  /// All but letters, digits and `-._~` escaped, in upper case: how metadata files are called on servers.
  var quoted: String {
    var result = ""
    for byte in utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
        result.unicodeScalars.append(Unicode.Scalar(byte))
      default: result += "%" + [byte].hexadecimal.uppercased()
      }
    }
    return result
  }
}
