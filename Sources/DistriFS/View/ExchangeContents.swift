// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// What one package brings into the exchange directories: a tree of names. Immutable, as packages are.
final class ExchangeContents: Sendable {
  /// A name.
  struct Entry: Sendable {
    var name: EntryName
    var content: Content
  }

  /// What stands behind a name.
  enum Content: Sendable {
    /// Merged with the same directory of other packages.
    case directory(ExchangeContents)
    /// Shown as a link into the package.
    case file
    /// A relative link of the package that stays inside the exchange directory: shown as it is.
    case link(target: [UInt8])
  }

  /// Sorted by name.
  let entries: [Entry]

  /// Nothing.
  static let empty = ExchangeContents([])

  init(_ entries: [Entry]) { self.entries = entries }
}

/// Reads what a package brings. The image may be hostile: depth and number of entries are bounded, loops are found.
struct ContentsReader {
  private static let maximumDepth = 64
  private static let maximumEntryCount = 4 << 20

  private let image: PackageImage
  private var entryCount = 0
  private var ancestors: [PackageImage.Node] = []

  /// Makes a reader of one image.
  init(_ image: PackageImage) { self.image = image }

  /// A tree with a directory for each source that the package has.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``.
  mutating func read(_ sources: [ExchangeSource]) throws(StoreError) -> ExchangeContents {
    var entries: [ExchangeContents.Entry] = []
    for source in sources {
      guard let node = try directory(at: source.source) else { continue }
      entries.append(.init(name: source.name, content: .directory(try contents(of: node, depth: 0))))
    }
    return ExchangeContents(entries.sorted { $0.name < $1.name })
  }

  /// The directory at the path. One relative link in its place is followed, such as `out/lib64` → `lib`.
  private func directory(at path: TreePath) throws(StoreError) -> PackageImage.Node? {
    guard let node = try image.node(at: path) else { return nil }
    switch try image.attributes(of: node).kind {
    case .directory: return node
    case .symbolicLink:
      let target = try image.symbolicLinkTarget(of: node)
      guard target.first != UInt8(ascii: "/"), let relative = try? TreePath(parsing: target) else { return nil }
      let resolved = TreePath(components: path.parent.components + relative.components)
      guard let node = try image.node(at: resolved), try image.attributes(of: node).kind == .directory else { return nil }
      return node
    default: return nil
    }
  }

  private mutating func contents(of directory: PackageImage.Node, depth: Int) throws(StoreError) -> ExchangeContents {
    guard depth < Self.maximumDepth, !ancestors.contains(directory) else {
      throw .damagedImage(image.path, place: "directory tree", reason: "a loop, or deeper than \(Self.maximumDepth) directories")
    }
    ancestors.append(directory)
    defer { ancestors.removeLast() }
    let found = try image.entries(of: directory)
    entryCount += found.count
    guard entryCount <= Self.maximumEntryCount else {
      throw .damagedImage(image.path, place: "directory tree", reason: "more than \(Self.maximumEntryCount) entries")
    }
    var entries: [ExchangeContents.Entry] = []
    entries.reserveCapacity(found.count)
    for entry in found {
      let content: ExchangeContents.Content
      switch entry.kind {
      case .directory: content = .directory(try contents(of: entry.node, depth: depth + 1))
      case .symbolicLink:
        let target = try image.symbolicLinkTarget(of: entry.node)
        content = Self.staysInside(target, depth: depth) ? .link(target: target) : .file
      default: content = .file
      }
      entries.append(.init(name: entry.name, content: content))
    }
    return ExchangeContents(entries)
  }

  /// Whether a link of a directory so many levels below an exchange directory never leaves that.
  static func staysInside(_ target: [UInt8], depth: Int) -> Bool {
    guard let first = target.first, first != UInt8(ascii: "/") else { return false }
    var depth = depth
    for component in target.split(separator: UInt8(ascii: "/")) {
      if component.elementsEqual([UInt8(ascii: "."), UInt8(ascii: ".")]) {
        depth -= 1
        if depth < 0 { return false }
      } else if !component.elementsEqual([UInt8(ascii: ".")]) {
        depth += 1
      }
    }
    return true
  }
}
