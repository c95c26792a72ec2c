// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

/// A copy of the demo's store to build into, real sources, and the tool.
struct BuilderBench: Sendable {
  /// Beside what the demo left, so that the packages of its store can be linked; sources stay from run to run.
  static let folder = WholeLifeTests.folder.appending("builders")
  static let sources = WholeLifeTests.folder.appending("sources")
  private static let definitions = folder.appending("copy/pkgs")

  /// A store with the packages that the demo imported, the sources fetched. Made once.
  static let shared = Task { () async throws -> BuilderBench in
    try await shell("rm -rf '\(folder)'; mkdir -p '\(definitions)'")
    try await fetchSources()
    return try await BuilderBench(store: "store")
  }

  let store: FilePath

  /// A further store of the same packages, without what was built into another.
  init(store name: String) async throws {
    store = Self.folder.appending(name)
    let demo = WholeLifeTests.folder.appending("store")
    guard FileManager.default.fileExists(atPath: demo.string) else {
      throw CocoaError(.fileNoSuchFile, userInfo: [NSLocalizedDescriptionKey: "\(demo): WholeLifeTests make it; run them first"])
    }
    try await Self.shell("mkdir '\(store)' && cp -a --link '\(demo)'/*.squashfs '\(demo)'/*.textproto '\(store)'")
  }

  /// Upstream's archives: from Debian's source packages, from PyPI, and a Go module that is made of a Debian package.
  private static func fetchSources() async throws {
    let script = WholeLifeTests.checkout.appending("Examples/definitions/fetch-sources.sh")
    for sample in BuilderSystemTests.samples { try write(sample.text, to: "pkgs/\(sample.name)/build.textproto") }
    let names = BuilderSystemTests.samples.map(\.name).joined(separator: " ")
    try await shell("DEFINITIONS='\(definitions)' '\(script)' '\(sources)' \(names)")
    // The names and hashes of Debian's package change; its upstream commit does not.
    try await shell(
      """
      module=github.com/kballard/go-shellquote version=v0.0.0-20180428030007-95032a82bc51
      place='\(folder)'/proxy/$module/@v
      mkdir -p "$place" '\(sources)'/debs
      cd '\(sources)'/debs
      ls golang-github-kballard-go-shellquote-dev_*.deb >/dev/null 2>&1 ||
        apt-get download --quiet --quiet golang-github-kballard-go-shellquote-dev
      rm -rf x; mkdir -p "x/$(dirname $module)"
      dpkg-deb -x golang-github-kballard-go-shellquote-dev_*.deb x/deb
      mv x/deb/usr/share/gocode/src/$module "x/$module@$version"
      cd x; find . -exec touch -h -d @315532800 {} +
      find github.com -type f | LC_ALL=C sort | TZ=UTC zip -q -X -@ "$place/$version.zip"
      """)
  }

  @discardableResult
  static func shell(_ script: String) async throws -> String {
    let done = try await ToolProcess.run("sh", ["-ec", script], environment: ["LC_ALL": "C.UTF-8"])
    guard done.status == 0 else {
      throw Failure(description: "\(script)\n\(done.output.suffix(2000))\n\(done.errors.suffix(3000))")
    }
    return done.output
  }

  /// What several tests wait for failed. Of a failed expectation only the first of them would tell.
  private struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// Writes a file below the directory that holds the definitions' directory.
  static func write(_ text: String, to path: String, executable: Bool = false) throws {
    let file = definitions.removingLastComponent().pushing(FilePath(path))
    try FileManager.default.createDirectory(atPath: file.removingLastComponent().string, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(filePath: file.string))
    if executable { try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file.string) }
  }

  /// Builds definitions that have been written, and returns what the tool said.
  @discardableResult
  func build(_ names: [String], jobs: Int = 2) async throws -> ToolProcess.Outcome {
    let work = Self.folder.appending("_build-\(store.lastComponent?.string ?? "")").string
    return try await ToolProcess.run(
      "distri-build",
      [
        "build", "--definitions", Self.definitions.string, "--store", store.string, "--sources", Self.sources.string, "--work",
        work,
        "--go-proxy", "file://\(Self.folder)/proxy", "--jobs", "\(jobs)",
      ] + names)
  }

  /// Builds one definition, and expects that it succeeds.
  func build(_ name: String, _ text: String, jobs: Int = 2) async throws {
    try Self.write(text, to: "pkgs/\(name)/build.textproto")
    let done = try await build([name], jobs: jobs)
    guard done.status == 0 else { throw Failure(description: "\(name): \(done.errors.suffix(4000))") }
  }

  /// What a shell command says in a world of these packages.
  func run(_ packages: [String], _ script: String) async throws -> String {
    let done = try await ToolProcess.run(
      "distri-fuse",
      [
        "run", "--store", store.string, "--packages",
        (packages + ["bash", "coreutils", "grep", "findutils"]).joined(separator: ","), "--", "bash",
        "-ec", script,
      ])
    guard done.status == 0 else { throw Failure(description: "\(script): \(done.errors.suffix(3000))") }
    return done.output
  }

  /// The lines of the metadata of a package that start so.
  func metadata(_ package: String, _ field: String) throws -> [String] {
    let text = try String(contentsOfFile: store.appending("\(package).meta.textproto").string, encoding: .utf8)
    return text.split(separator: "\n").filter { $0.hasPrefix(field) }.map(String.init)
  }
}
