// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import DistriStore

/// Which packages share a layer of a container image.
///
/// A package has a layer of its own, which depends on nothing but the package, so that all images with the package share it. Runtimes
/// take no more than 127 layers: of many packages the largest keep their own, and the others are dealt out by their names,
/// not by their versions, so that an update changes one layer.
enum LayerPlan {
  /// As many packages have a layer each.
  static let limit = 100
  /// How many layers there are for several packages each, where there are more.
  static let groupCount = 20

  /// The layers, each with its packages in ``PackageID``'s order.
  static func layers(of packages: [(id: PackageID, byteCount: UInt64)]) -> [[PackageID]] {
    let ids = packages.map(\.id).sorted()
    if ids.count <= limit { return ids.map { [$0] } }
    let largest = packages.sorted { ($1.byteCount, $0.id) < ($0.byteCount, $1.id) }.prefix(limit - groupCount).map(\.id)
    let alone = Set(largest)
    let groups = Dictionary(grouping: ids.filter { !alone.contains($0) }) { id in
      let digest = SHA256.hash(data: Array("\(id.unversioned)".utf8))
      return digest.prefix(4).reduce(0) { $0 << 8 | Int($1) } % groupCount
    }
    return largest.sorted().map { [$0] } + groups.sorted { $0.key < $1.key }.map(\.value)
  }
}
