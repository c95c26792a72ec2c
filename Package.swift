// swift-tools-version: 6.2
// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// `make check` sets this: warnings are errors in our own code, never in a consumer's build.
let strict = Context.environment["DISTRI_STRICT"] != nil

let warnings: [SwiftSetting] = strict ? [.treatAllWarnings(as: .error)] : []
let library: [SwiftSetting] = [.strictMemorySafety()] + warnings
let tool: [SwiftSetting] = warnings

let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
// RSA.
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")

/// Without this trait nothing that gRPC needs is compiled.
let remote = Set(["RemoteExecution"])
let grpc = Target.Dependency.product(name: "GRPCCore", package: "grpc-swift-2", condition: .when(traits: remote))
let grpcTransport = Target.Dependency.product(
  name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport", condition: .when(traits: remote))
let grpcProtobuf = Target.Dependency.product(
  name: "GRPCProtobuf", package: "grpc-swift-protobuf", condition: .when(traits: remote))

let package = Package(
  name: "distri",
  products: [
    .library(name: "DistriStore", targets: ["DistriStore", "DistriArchive"]),
    .library(name: "DistriFS", targets: ["DistriFS"]),
    .library(name: "DistriBuild", targets: ["DistriBuild"]),
    .library(name: "DistriRepo", targets: ["DistriRepo"]),
    .library(name: "DistriRemote", targets: ["DistriRemote"]),
    .executable(name: "distri-fuse", targets: ["distri-fuse"]),
    .executable(name: "distri-build", targets: ["distri-build"]),
    .executable(name: "distri-fetch", targets: ["distri-fetch"]),
    .executable(name: "distri-mkimage", targets: ["distri-mkimage"]),
    .executable(name: "distri-init", targets: ["distri-init"]),
  ],
  traits: [
    .trait(
      name: "RemoteExecution", description: "Builds on clusters that speak the Remote Execution API (DistriRemote, distri-build).")
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    // Without its default traits it does without Foundation, which would make every tool 40 MB larger.
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.0"),
    // With the trait RemoteExecution only.
    .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
    .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
    .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
  ],
  targets: [
    // DistriStore: packages at rest.
    .systemLibrary(
      name: "CSquashFS", path: "Sources/DistriStore/CSquashFS", pkgConfig: "libsquashfs1",
      providers: [.apt(["libsquashfs-dev"])]),
    .target(name: "CLinux", path: "Sources/DistriStore/CLinux"),
    .target(
      name: "DistriStore", dependencies: ["CSquashFS", "CLinux", system, protobuf],
      exclude: [
        "CSquashFS", "CLinux", "Archive", "Metadata/Schema/meta.proto", "Metadata/Schema/mirrormeta.proto",
      ], swiftSettings: library),
    // A module of its own, so that who only mounts does without libarchive and the 40 MB that it needs.
    .systemLibrary(
      name: "CArchive", path: "Sources/DistriStore/Archive/CArchive", pkgConfig: "libarchive",
      providers: [.apt(["libarchive-dev"])]),
    .target(
      name: "DistriArchive", dependencies: ["DistriStore", "CArchive", system], path: "Sources/DistriStore/Archive",
      exclude: ["CArchive"], swiftSettings: library),

    // DistriFS: the view /ro of a store.
    .systemLibrary(
      name: "CFUSE", path: "Sources/DistriFS/CFUSE", pkgConfig: "fuse3",
      providers: [.apt(["libfuse3-dev"])]),
    .target(name: "CChannel", path: "Sources/DistriFS/CChannel"),
    .target(
      name: "DistriFS", dependencies: ["DistriStore", "CChannel", "CFUSE", "CLinux", system, logging],
      exclude: ["CChannel", "CFUSE"], swiftSettings: library),

    // DistriBuild: definitions and foreign packages → packages.
    .target(name: "CSandbox", path: "Sources/DistriBuild/CSandbox"),
    .target(
      name: "DistriBuild", dependencies: ["DistriStore", "DistriArchive", "CSandbox", "CLinux", system, logging, crypto],
      exclude: ["CSandbox", "Wrapper"], swiftSettings: library),

    // DistriRepo: repositories over HTTP or a directory.
    .systemLibrary(
      name: "CCurl", path: "Sources/DistriRepo/CCurl", pkgConfig: "libcurl",
      providers: [.apt(["libcurl4-openssl-dev"])]),
    .target(
      name: "DistriRepo", dependencies: ["DistriStore", "CCurl", "CLinux", system, logging, crypto, cryptoExtras],
      exclude: ["CCurl"], swiftSettings: library),

    // DistriRemote: builds on other machines. Empty without the trait RemoteExecution.
    .target(
      name: "DistriRemote",
      dependencies: [
        "DistriStore", "DistriArchive", "DistriBuild", system, logging, crypto, protobuf, grpc, grpcTransport, grpcProtobuf,
      ],
      swiftSettings: library),

    // The tools, composed from the libraries.
    .target(
      name: "ToolSupport", dependencies: ["DistriStore", system, logging, arguments],
      path: "Sources/Tools/ToolSupport", swiftSettings: tool),
    .target(
      name: "RepositorySupport", dependencies: ["DistriRepo", "ToolSupport", system, arguments],
      path: "Sources/Tools/RepositorySupport", swiftSettings: tool),
    .executableTarget(
      name: "distri-fuse",
      dependencies: [
        "DistriStore", "DistriFS", "DistriBuild", "DistriRepo", "ViewSupervisor", "RepositorySupport", "ToolSupport", arguments,
        system, logging,
      ],
      path: "Sources/Tools/distri-fuse", exclude: ["Supervisor"], swiftSettings: tool),
    // What holds a mount while servers come and go: also a part of distri-init, which must be small.
    .target(
      name: "ViewSupervisor", dependencies: ["DistriStore", "DistriFS", "CSupervisor", system],
      path: "Sources/Tools/distri-fuse/Supervisor", exclude: ["CSupervisor"], swiftSettings: tool),
    .target(name: "CSupervisor", path: "Sources/Tools/distri-fuse/Supervisor/CSupervisor"),
    .executableTarget(
      name: "distri-build",
      dependencies: [
        "DistriStore", "DistriFS", "DistriBuild", "DistriRepo", "RepositorySupport", "ToolSupport", arguments, system, logging,
        .target(name: "DistriRemote", condition: .when(traits: remote)),
      ],
      path: "Sources/Tools/distri-build", swiftSettings: tool),
    .executableTarget(
      name: "distri-fetch",
      dependencies: [
        "DistriStore", "DistriRepo", "RepositorySupport", "ToolSupport", arguments, system, logging,
        .product(name: "FlyingFox", package: "FlyingFox"),
      ],
      path: "Sources/Tools/distri-fetch", swiftSettings: tool),
    .executableTarget(
      name: "distri-mkimage",
      dependencies: [
        "DistriStore", "DistriArchive", "DistriFS", "DistriBuild", "CLinux", "ToolSupport", arguments, system, logging, crypto,
      ],
      path: "Sources/Tools/distri-mkimage", swiftSettings: tool),
    .executableTarget(
      name: "distri-init", dependencies: ["CInit", "DistriFS", "ViewSupervisor", system], path: "Sources/Tools/distri-init",
      exclude: ["CInit"],
      swiftSettings: tool),
    .target(name: "CInit", path: "Sources/Tools/distri-init/CInit"),

    // Tests.
    .target(
      name: "TestSupport", dependencies: ["DistriStore", system], path: "Tests/TestSupport", swiftSettings: tool),
    .executableTarget(
      name: "store-worker", dependencies: ["DistriStore", "DistriArchive", "TestSupport", system], path: "Tests/store-worker",
      swiftSettings: tool),
    .testTarget(
      name: "DistriStoreTests", dependencies: ["DistriStore", "DistriArchive", "TestSupport", "store-worker"], swiftSettings: tool),
    .target(
      name: "FSTestSupport", dependencies: ["DistriFS", "CLinux", "CTestCalls", "TestSupport", system],
      path: "Tests/FSTestSupport", exclude: ["CTestCalls"], swiftSettings: tool),
    .target(name: "CTestCalls", path: "Tests/FSTestSupport/CTestCalls"),
    .testTarget(name: "DistriFSTests", dependencies: ["DistriFS", "FSTestSupport", "TestSupport"], swiftSettings: tool),
    .testTarget(
      name: "DistriBuildTests", dependencies: ["DistriBuild", "TestSupport"], exclude: ["Probe"], swiftSettings: tool),
    // An example, here because the tests run it.
    .executableTarget(
      name: "tuf-client", dependencies: ["DistriRepo", system], path: "Examples/tuf-client", exclude: ["README.md"],
      swiftSettings: tool),
    .testTarget(
      name: "DistriRepoTests", dependencies: ["DistriRepo", "TestSupport", "tuf-client"],
      exclude: ["Trust/interop.py", "Support/s3.py"],
      swiftSettings: tool),
    .testTarget(
      name: "DistriRemoteTests",
      dependencies: [
        "DistriRemote", "DistriBuild", "DistriStore", "TestSupport", system, crypto, protobuf, grpc, grpcTransport, grpcProtobuf,
      ],
      swiftSettings: tool),
    .executableTarget(
      name: "poison-mount", dependencies: ["DistriFS", "FSTestSupport", "CSupervisor", system], path: "Tests/poison-mount",
      swiftSettings: tool),
    .testTarget(
      name: "MountTests",
      dependencies: ["DistriFS", "FSTestSupport", "CTestCalls", "TestSupport", "ViewSupervisor", "distri-fuse", "poison-mount"],
      swiftSettings: tool),
    .testTarget(
      name: "ToolTests", dependencies: ["DistriStore", "TestSupport", "distri-init", "distri-mkimage", system],
      exclude: ["Help", "Sandbox/terminal.py"],
      swiftSettings: tool),
    .testTarget(name: "SystemTests", dependencies: ["TestSupport"], swiftSettings: tool),
  ],
  swiftLanguageModes: [.v6]
)
