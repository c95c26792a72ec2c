// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Reads metadata without trusting it.
public enum MetadataCheck {
  /// Whether the bytes are metadata of this type, whoever has signed it.
  ///
  /// - Parameter type: `root`, `timestamp`, `snapshot` or `targets`.
  @discardableResult
  public static func read(_ bytes: [UInt8], as type: String) -> Bool {
    do {
      let metadata = try SignedMetadata(bytes, file: type, type: type)
      switch type {
      case "root":
        let root = try RootMetadata(metadata)
        try metadata.verify(root.role("root"), keys: root.keys)
      case "timestamp": _ = try TimestampMetadata(metadata)
      case "snapshot": _ = try SnapshotMetadata(metadata).versions
      default:
        let targets = try TargetsMetadata(metadata)
        for member in targets.targets.members {
          _ = try targets.target(member.name)?.consistentPath
          _ = targets.delegations?.roles.contains { $0.covers(member.name) }
        }
      }
      return true
    } catch {
      return false
    }
  }
}
