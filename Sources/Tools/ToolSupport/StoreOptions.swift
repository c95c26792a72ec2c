// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriStore
import SystemPackage

/// The option that names the store, spelled the same in all tools.
public struct StoreOptions: ParsableArguments {
  /// The store's directory.
  @Option(name: .long, help: ArgumentHelp("The store: a directory of images and metadata.", valueName: "dir"))
  public var store = "/roimg"

  /// Makes the options with their defaults.
  public init() {}

  /// Where the store is.
  public var storePath: FilePath { FilePath(store) }
}
