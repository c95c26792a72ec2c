// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A file of a store that is not what it should be.
public enum StoreDefect: Sendable, Hashable {
  /// The package is skipped: its metadata file is missing.
  case imageWithoutMetadata(PackageID)
  /// The metadata file is ignored: its image is missing.
  case metadataWithoutImage(PackageID)
  /// A file with the ending of an image or of metadata whose name is none of a package.
  case unknownFile(String)
}

extension StoreDefect: CustomStringConvertible {
  /// A sentence for people.
  public var description: String {
    switch self {
    case .imageWithoutMetadata(let package): "\(package): its metadata is missing; install it again"
    case .metadataWithoutImage(let package): "\(package): its image is missing; install it again, or delete \(package.metadataFileName)"
    case .unknownFile(let name): "«\(name.printable)» has no package's name"
    }
  }
}

/// What the names in a store's directory say. Pure: names in, packages out.
struct StoreListing {
  private(set) var packages: [PackageID] = []
  private(set) var defects: [StoreDefect] = []

  init(names: [EntryName], needsMetadata: Bool) {
    var metadata: Set<PackageID> = []
    var images: [PackageID] = []
    for name in names {
      let text = name.description
      if text.hasPrefix(".") { continue }
      let query = try? PackageQuery(parsing: text)
      if text.hasSuffix(".squashfs") {
        if let package = query?.exact, package.imageFileName == text { images.append(package) } else {
          defects.append(.unknownFile(text))
        }
      } else if text.hasSuffix(".meta.textproto") {
        // Without a version it is the link to the newest one's.
        guard let query else {
          defects.append(.unknownFile(text))
          continue
        }
        if let package = query.exact { metadata.insert(package) }
      }
    }
    images.sort()
    for package in images {
      if !needsMetadata || metadata.remove(package) != nil { packages.append(package) } else {
        defects.append(.imageWithoutMetadata(package))
      }
    }
    metadata.subtract(images)
    defects += metadata.sorted().map { .metadataWithoutImage($0) }
  }
}
