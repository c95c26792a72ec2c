// swift-tools-version: 6.2
// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// Depends on the checkout around it, so that the examples cannot rot.
let store = Target.Dependency.product(name: "DistriStore", package: "distri")
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let all = ["DistriStore", "DistriFS", "DistriBuild", "DistriRepo"].map { Target.Dependency.product(name: $0, package: "distri") }

let package = Package(
  name: "examples",
  dependencies: [
    .package(name: "distri", path: ".."),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
  ],
  targets: [
    .executableTarget(name: "readme", dependencies: all + [system], path: "readme"),
    .executableTarget(name: "read-a-package", dependencies: [store, system], path: "read-a-package", exclude: ["README.md"]),
    .executableTarget(
      name: "mount-in-process",
      dependencies: [store, system, logging, .product(name: "DistriFS", package: "distri")],
      path: "mount-in-process", exclude: ["README.md"]),
    .executableTarget(
      name: "build-hello",
      dependencies: [
        store, system, logging, .product(name: "DistriBuild", package: "distri"), .product(name: "DistriFS", package: "distri"),
      ],
      path: "build-hello", exclude: ["README.md"]),
    .executableTarget(
      name: "mirror-a-repository",
      dependencies: [store, system, .product(name: "DistriRepo", package: "distri")],
      path: "mirror-a-repository", exclude: ["README.md"]),
  ],
  swiftLanguageModes: [.v6]
)
