// swift-tools-version: 6.2
// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// Programs that do nothing but what is measured.
let package = Package(
  name: "distri-performance",
  dependencies: [
    .package(name: "distri", path: "../.."),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
  ],
  targets: [
    .executableTarget(
      name: "pack-image",
      dependencies: [
        .product(name: "DistriStore", package: "distri"), .product(name: "SystemPackage", package: "swift-system"),
      ]),
    .executableTarget(
      name: "spawn-sandbox",
      dependencies: [
        .product(name: "DistriBuild", package: "distri"), .product(name: "DistriFS", package: "distri"),
        .product(name: "DistriStore", package: "distri"), .product(name: "SystemPackage", package: "swift-system"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)
