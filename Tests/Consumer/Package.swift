// swift-tools-version: 6.2
// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// An outside program: it sees what anybody sees who depends on distri.
let package = Package(
  name: "consumer",
  dependencies: [
    .package(name: "distri", path: "../.."),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
  ],
  targets: [
    .executableTarget(
      name: "consumer",
      dependencies: [
        .product(name: "DistriStore", package: "distri"),
        .product(name: "DistriFS", package: "distri"),
        .product(name: "DistriBuild", package: "distri"),
        .product(name: "DistriRepo", package: "distri"),
        .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "Logging", package: "swift-log"),
      ])
  ],
  swiftLanguageModes: [.v6]
)
