// swift-tools-version: 6.2
// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// Built with `swift build -Xswiftc -sanitize=fuzzer,address`, see README.md.
let package = Package(
  name: "fuzz",
  dependencies: [
    .package(name: "distri", path: "../..", traits: ["RemoteExecution"]),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
  ],
  targets: [
    .target(name: "CFuzzer"),
    .executableTarget(
      name: "fuzz",
      dependencies: [
        "CFuzzer", .product(name: "DistriStore", package: "distri"), .product(name: "DistriBuild", package: "distri"),
        .product(name: "DistriRepo", package: "distri"), .product(name: "DistriRemote", package: "distri"),
        .product(name: "SystemPackage", package: "swift-system"), .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)
