// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A build as something that any machine can do: files, a command, and the files that it makes. It needs no network, and nothing of the machine
/// but user namespaces and `/dev/fuse`.
///
/// Canonical: two machines that have the same of everything that counts make the same action, so that what one has built the other need not.
public struct Action: Sendable, Hashable {
  /// What is to be built: the main package, then those split from it.
  public var packages: [PackageID]
  /// What the build sees or names, with all that those need.
  public var dependencies: [PackageID]
  /// What it is made of, in words.
  public var order: ActionOrder
  /// All that the command sees.
  public var inputs: ActionInputs
  /// The command. Paths in it are relative to the input root, in which it runs.
  public var arguments: [String]
  /// The whole environment.
  public var environment: [String: String]
  /// What the machine has to be, by name; as workers of a cluster advertise it.
  public var platform: [String: String]
  /// What the command makes, sorted by path. Those that are required are there whenever it ends with status 0.
  public var outputs: [ActionOutput]
}

/// A file that an action makes.
public struct ActionOutput: Sendable, Hashable {
  /// What is in it.
  public enum Role: Sendable, Hashable {
    /// The image of a package, in a section of the store.
    case image(PackageID, LocalStore.Section)
    /// What a package says of itself.
    case metadata(PackageID)
    /// An SPDX document of a package.
    case billOfMaterials(PackageID)
    /// What the steps wrote. It is there after a failure, too.
    case log
  }

  /// Relative to the input root.
  public var path: TreePath
  /// What is in it.
  public var role: Role

  /// Whether an action that was successful must have made it: debug symbols and sources there are for some packages only.
  public var isRequired: Bool {
    switch role {
    case .image(_, let section): section == .packages
    case .metadata, .billOfMaterials, .log: true
    }
  }
}
