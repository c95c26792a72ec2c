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

extension StoreDefect {
  /// The package that is not whole.
  var package: PackageID? {
    switch self {
    case .imageWithoutMetadata(let package), .metadataWithoutImage(let package): package
    case .unknownFile: nil
    }
  }
}

extension StoreDefect: CustomStringConvertible {
  /// A sentence for people.
  public var description: String {
    switch self {
    case .imageWithoutMetadata(let package): "\(package): its metadata is missing; install it again"
    case .metadataWithoutImage(let package):
      "\(package): its image is missing; install it again, or delete \(package.metadataFileName)"
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
        if let package = query?.exact, package.imageFileName == text {
          images.append(package)
        } else {
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
      if !needsMetadata || metadata.remove(package) != nil {
        packages.append(package)
      } else {
        defects.append(.imageWithoutMetadata(package))
      }
    }
    metadata.subtract(images)
    defects += metadata.sorted().map { .metadataWithoutImage($0) }
  }

  /// Asks again for both files of what looks broken: while a directory is listed, a writer may have moved one of them past us.
  mutating func confirmDefects(exists: (String) throws(StoreError) -> Bool) throws(StoreError) {
    let doubtful = defects
    defects = []
    var late: [PackageID] = []
    for defect in doubtful {
      switch defect {
      case .imageWithoutMetadata(let package), .metadataWithoutImage(let package):
        // In this order: who sees an image finds its metadata, unless it is being removed.
        let files = (image: try exists(package.imageFileName), metadata: try exists(package.metadataFileName))
        if files.image, files.metadata {
          late.append(package)
        } else if files.image {
          defects.append(.imageWithoutMetadata(package))
        } else if files.metadata {
          defects.append(.metadataWithoutImage(package))
        }
      case .unknownFile:
        defects.append(defect)
      }
    }
    if !late.isEmpty { packages = (packages + late).sorted() }
  }
}
