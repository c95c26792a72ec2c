// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

extension PackageTree {
  /// The entries as an image's writer wants them: sorted, parents first, of a file's names the first one with the contents.
  public func stream() -> Stream { Stream(self) }

  /// Reads a tree once, from its root to its last entry.
  public struct Stream: DescriptorBackedTree {
    private var nodes: [Node]
    private var position = 0
    private var contents: Contents?
    private var offset: UInt64 = 0
    private var file: OpenFile?

    fileprivate init(_ tree: PackageTree) {
      let root = TreeEntry(path: .root, kind: .directory, permissions: 0o755, modificationTime: tree.modificationTime)
      nodes = [Node(entry: root)] + Self.withContentsFirst(tree.sortedNodes)
    }

    /// A hard link may sort before the file that it is another name of: then the two change roles.
    private static func withContentsFirst(_ nodes: [Node]) -> [Node] {
      var firstName: [TreePath: TreePath] = [:]
      for node in nodes {
        guard case .hardLink(let target) = node.entry.kind, Self.precedes(node.entry.path, target) else { continue }
        if firstName[target] == nil { firstName[target] = node.entry.path }
      }
      if firstName.isEmpty { return nodes }
      let files = Dictionary(nodes.filter { firstName[$0.entry.path] != nil }.map { ($0.entry.path, $0) }) { first, _ in first }
      return nodes.map { node in
        var node = node
        if let first = firstName[node.entry.path] {
          node.entry.kind = .hardLink(to: first)
          node.contents = nil
        } else if case .hardLink(let target) = node.entry.kind, let first = firstName[target] {
          if node.entry.path == first, let file = files[target] {
            node = file
            node.entry.path = first
          } else {
            node.entry.kind = .hardLink(to: first)
          }
        }
        return node
      }
    }

    /// The order in which trees are walked.
    private static func precedes(_ a: TreePath, _ b: TreePath) -> Bool { a.components.lexicographicallyPrecedes(b.components) }

    /// The next entry; nil at the end.
    public mutating func next() throws -> TreeEntry? {
      contents = nil
      file = nil
      offset = 0
      guard position < nodes.count else { return nil }
      let node = nodes[position]
      position += 1
      contents = node.contents
      return node.entry
    }

    /// Appends bytes of the file that ``next()`` gave last.
    ///
    /// - Throws: ``BuildError/system(operation:path:_:)``.
    public mutating func readContents(into output: inout OutputRawSpan) throws {
      switch contents {
      case nil: return
      case .bytes(let bytes): offset += UInt64(append(bytes, from: Int(offset), to: &output))
      case .file(let path):
        let descriptor = try contentsDescriptor()
        do throws(Errno) {
          offset += UInt64(try descriptor.read(at: offset, appendingTo: &output))
        } catch {
          throw BuildError.system(operation: "read", path: path, error)
        }
      }
    }

    /// The file that ``next()`` gave last.
    ///
    /// - Throws: ``BuildError/system(operation:path:_:)``.
    public mutating func contentsDescriptor() throws -> FileDescriptor {
      if let file { return file.descriptor }
      do {
        let descriptor: FileDescriptor =
          switch contents {
          case nil: try .inMemory([])
          case .bytes(let bytes): try .inMemory(bytes)
          case .file(let path): try .open(path, .readOnly, options: [.closeOnExec, .noFollow])
          }
        file = OpenFile(descriptor)
        return descriptor
      } catch {
        var path: FilePath = "contents"
        if case .file(let name) = contents { path = name }
        throw BuildError.system(operation: "open", path: path, error as? Errno ?? .ioError)
      }
    }
  }

  /// Closes its descriptor at the end of its life.
  private final class OpenFile {
    let descriptor: FileDescriptor
    init(_ descriptor: FileDescriptor) { self.descriptor = descriptor }
    deinit { try? descriptor.close() }
  }
}
