// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The firmware of several packages: what they have in `out/lib/firmware`.
struct FirmwareFiles {
  private let images: [PackageImage]

  /// A file is larger than this only when its image is damaged, in bytes.
  private static let largestFile = 256 << 20
  /// How many links may lead to a file.
  private static let mostLinks = 8

  /// - Parameter images: where several have the same file, that of the first is taken.
  init(of images: [PackageImage]) throws {
    let directory = try TreePath(parsing: "out/lib/firmware")
    self.images = try images.filter { try $0.node(at: directory) != nil }
  }

  /// A file as the driver gets it, uncompressed.
  ///
  /// - Parameter name: as a module has it, below `lib/firmware`.
  /// - Returns: nil where no package has it.
  func contents(of name: String) throws -> [UInt8]? {
    for image in images {
      for ending in ["", ".xz", ".zst"] {
        guard let path = try? TreePath(parsing: "out/lib/firmware/\(name)\(ending)"),
          let node = try Self.file(at: path, of: image)
        else { continue }
        return try KernelPackage.decompressed(try image.contents(of: node, limit: Self.largestFile), name: "\(path)")
      }
    }
    return nil
  }

  /// The regular file that a path leads to in the package: variants of a card often are links to one file.
  private static func file(at path: TreePath, of image: PackageImage) throws -> PackageImage.Node? {
    var path = path
    for _ in 0...mostLinks {
      guard let node = try image.node(at: path) else { return nil }
      switch try image.attributes(of: node).kind {
      case .regular: return node
      case .symbolicLink:
        let target = String(decoding: try image.symbolicLinkTarget(of: node), as: UTF8.self)
        guard let next = try? TreePath(parsing: normalized("\(path.parent)/\(target)")), !target.hasPrefix("/") else { return nil }
        path = next
      default: return nil
      }
    }
    return nil
  }

  /// Without `.` and `..`; what leads above the root begins there.
  private static func normalized(_ path: String) -> String {
    var names: [Substring] = []
    for name in path.split(separator: "/") where name != "." {
      if name == ".." { _ = names.popLast() } else { names.append(name) }
    }
    return names.joined(separator: "/")
  }
}
