// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// How a mounted view is, as it says itself.
public struct MountStatus: Sendable, Hashable {
  /// Something of the store that cannot be shown.
  public struct Problem: Sendable, Hashable, Codable {
    /// A package, or `store`.
    public var subject: String
    /// The rest of a sentence.
    public var reason: String
  }

  /// Who watches the mount, as that process says itself.
  public struct Supervision: Sendable, Hashable, Codable {
    /// The process that holds the mount.
    public var supervisor: Int32
    /// The process that serves it; 0 while it is being replaced.
    public var server: Int32
    /// How often the server has died and been replaced.
    public var replacementCount: Int
    /// How many requests were answered `EIO` because servers died of them.
    public var refusedRequestCount: Int
    /// How many open files are kept for the next server.
    public var keptDescriptorCount: Int
    /// Whether the kernel can send again what a dead server has not answered: Linux 6.9 and later.
    public var canResend: Bool

    /// Makes a description.
    public init(
      supervisor: Int32, server: Int32, replacementCount: Int, refusedRequestCount: Int, keptDescriptorCount: Int, canResend: Bool
    ) {
      self.supervisor = supervisor
      self.server = server
      self.replacementCount = replacementCount
      self.refusedRequestCount = refusedRequestCount
      self.keptDescriptorCount = keptDescriptorCount
      self.canResend = canResend
    }
  }

  /// Where it is mounted.
  public var mountPoint: FilePath
  /// What is shown, by custom the store's path.
  public var source: String
  /// Whether it answers; a view whose process has died does not.
  public var isAlive = true
  /// How many packages are shown.
  public var packageCount = 0
  /// Damage that has been met, and files that are not what they should be.
  public var problems: [Problem] = []
  /// Who watches it; nil where nobody does, or nobody has asked: the program that mounts knows how.
  public var supervision: Supervision?

  /// Asks the view.
  ///
  /// - Throws: ``MountError/notMounted(_:)`` where nothing of ours is mounted; ``MountError/system(operation:path:_:)``.
  public init(of mountPoint: FilePath) throws(MountError) {
    let path = Mount.canonical(mountPoint)
    guard let entry = try MountTable.current().entry(at: path), entry.isOurs else { throw .notMounted(mountPoint) }
    self.mountPoint = path
    source = entry.source
    do {
      parse(try SystemCalls.extendedAttribute(PackageFileSystem.statusAttribute, of: path))
    } catch {
      guard error == .socketNotConnected || error == .connectionAbort else {
        throw .system(operation: "ask", path: mountPoint, error)
      }
      isAlive = false
    }
  }

  private mutating func parse(_ bytes: [UInt8]) {
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let fields = line.split(separator: "\t", maxSplits: 2).map(String.init)
      if fields.count == 2, fields[0] == "packages" { packageCount = Int(fields[1]) ?? 0 }
      if fields.count == 3, fields[0] == "problem" { problems.append(Problem(subject: fields[1], reason: fields[2])) }
    }
  }
}
