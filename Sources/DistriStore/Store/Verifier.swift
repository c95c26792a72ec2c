// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Looks at every byte of a store that a reader may get to see.
public struct Verifier: Sendable {
  /// Something that is not as it should be.
  public struct Finding: Sendable, Hashable {
    /// A package, a generation, or a file.
    public var subject: String
    /// What is wrong, for people.
    public var reason: String
    /// The package whose files, brought anew, would mend it; nil where that is not known to help.
    public var remedy: PackageID?

    /// Makes a finding.
    public init(subject: String, reason: String, remedy: PackageID? = nil) {
      self.subject = subject
      self.reason = reason
      self.remedy = remedy
    }
  }

  private static let maximumDepth = 256

  private let store: LocalStore

  /// Makes a verifier of a section of a store.
  public init(_ store: LocalStore) { self.store = store }

  /// What is wrong beside the packages: files that miss another, generations that cannot be read or name what is not there.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)`` when the store cannot be listed.
  public func findings() throws(StoreError) -> [Finding] {
    var result = try store.defects().map { Finding(subject: "store", reason: "\($0)", remedy: $0.package) }
    guard store.section == .packages else { return result }
    let current: UInt64?
    do throws(StoreError) { current = try store.generations.currentNumber() } catch {
      current = nil
      result.append(Finding(subject: "generations", reason: "\(error)"))
    }
    let numbers = try store.generations.numbers()
    if let current, !numbers.contains(current) {
      result.append(Finding(subject: "generation \(current)", reason: "it is current, and not there"))
    }
    let present = Set(try store.packages())
    for number in numbers {
      do throws(StoreError) {
        let missing = try store.generations.generation(number).selection.packages.filter { !present.contains($0) }
        result += missing.map {
          Finding(subject: "generation \(number)", reason: "\($0) is not there; repair or install it", remedy: $0)
        }
      } catch {
        // A collector may have been quicker.
        if case .noGeneration = error { continue }
        result.append(Finding(subject: "generation \(number)", reason: "\(error)"))
      }
    }
    return result
  }

  /// Reads all of a package's image and its metadata: every directory, link, attribute and block.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``, ``StoreError/invalidMetadata(of:line:reason:)``;
  ///   ``StoreError/notFound(_:)``; ``StoreError/system(operation:path:_:)``.
  public func verify(_ package: PackageID) throws {
    let image = try store.image(of: package)
    let buffer = TransferBuffer(byteCount: 1 << 20)
    var pending = [(node: image.root, depth: 0)]
    var seen: Set<PackageImage.Node> = []
    while let (node, depth) = pending.popLast() {
      try Task.checkCancellation()
      guard depth < Self.maximumDepth else {
        throw StoreError.damagedImage(image.path, place: "directories", reason: "nested more than \(Self.maximumDepth) deep")
      }
      if !seen.insert(node).inserted { continue }
      let attributes = try image.attributes(of: node)
      _ = try image.extendedAttributes(of: node)
      switch attributes.kind {
      case .directory: pending += try image.entries(of: node).map { ($0.node, depth + 1) }
      case .symbolicLink: _ = try image.symbolicLinkTarget(of: node)
      case .regular:
        var offset: UInt64 = 0
        while offset < attributes.byteCount {
          try buffer.fill { output in try image.read(node, at: offset, into: &output) }
          if buffer.count == 0 {
            throw StoreError.damagedImage(image.path, place: "file", reason: "it ends before its length")
          }
          offset += UInt64(buffer.count)
        }
      default: break
      }
    }
    _ = try store.metadata(of: package)
  }
}
