// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

/// A web site of upstream's on the loopback device, definitions, and the tool.
struct UpstreamSite: ~Copyable {
  let folder: TemporaryDirectory
  let server: ScriptedServer

  /// - Parameters:
  ///   - files: what lies where. Directories have listings.
  ///   - answers: for paths that answer in another way.
  init(_ files: [String: [UInt8]], answers: [String: [ScriptedServer.Step]] = [:]) throws {
    // All that may fail first, since a value that cannot be copied cannot be half there.
    let server = try ScriptedServer { request in
      let path = String(request.path.prefix { $0 != "?" })
      if let answer = answers[path] { return answer }
      if let file = files[path] ?? files[path + "index.html"] { return .ok(file) }
      guard path.hasSuffix("/"), files.keys.contains(where: { $0.hasPrefix(path) }) else { return .status("404 Not Found") }
      return .ok(Self.listing(of: path, files.keys))
    }
    let folder = try TemporaryDirectory()
    self.folder = folder
    self.server = server
  }

  /// As web servers make them: a link a name, directories with a slash.
  private static func listing(of path: String, _ files: some Sequence<String>) -> [UInt8] {
    let names = files.filter { $0.hasPrefix(path) }.map { file in
      let rest = file.dropFirst(path.count), name = rest.prefix { $0 != "/" }
      return name.count < rest.count ? "\(name)/" : String(name)
    }
    let links = Set(names).sorted().map { "<a href=\"\($0)\">\($0)</a> 2024-01-01 12:00  1.2M\n" }
    return Array(
      "<html><h1>Index of \(path)</h1><a href=\"?C=N;O=D\">Name</a> <a href=\"../\">Up</a>\n\(links.joined())</html>".utf8)
  }

  /// Writes a definition; `SITE` stands for the site.
  func define(_ name: String, _ text: String) throws {
    let directory = folder.path.appending("pkgs").appending(name)
    try FileManager.default.createDirectory(atPath: directory.string, withIntermediateDirectories: true)
    try text.replacing("SITE", with: server.root).write(
      toFile: directory.appending("build.textproto").string, atomically: true, encoding: .utf8)
  }

  /// A definition's text, with `SITE` for the site.
  func definition(_ name: String) throws -> String {
    let path = folder.path.appending("pkgs").appending(name).appending("build.textproto")
    return try String(contentsOfFile: path.string, encoding: .utf8).replacing(server.root, with: "SITE")
  }

  /// What the tool says; `SITE` stands for the site.
  func scaffold(_ arguments: [String], environment: [String: String] = [:]) async throws -> ToolProcess.Outcome {
    try await ToolProcess.run(
      "distri-build",
      ["scaffold", "--definitions", folder.path.appending("pkgs").string, "--store", folder.path.appending("store").string]
        + arguments.map { $0.replacing("SITE", with: server.root) },
      environment: ["GOPROXY": "", "PIP_INDEX_URL": ""].merging(environment) { $1 })
  }

  /// A package that the store has, by name.
  func addToStore(_ package: String) throws {
    let store = folder.path.appending("store")
    try FileManager.default.createDirectory(atPath: store.string, withIntermediateDirectories: true)
    for ending in ["squashfs", "meta.textproto"] {
      try Data().write(to: URL(filePath: store.appending("\(package).\(ending)").string))
    }
  }

  /// Looks for mistakes in a definition that has been written, in a world that has what builders imply.
  func lint(_ name: String) async throws -> ToolProcess.Outcome {
    for package in [
      "bash", "coreutils", "sed", "grep", "gawk", "diffutils", "file", "pkg-config", "gcc", "binutils", "make", "glibc", "linux",
      "findutils",
      "perl", "python3", "golang",
    ] { try addToStore("\(package)-amd64-1-1") }
    return try await ToolProcess.run(
      "distri-build", ["lint", folder.path.appending("pkgs").string, name, "--store", folder.path.appending("store").string])
  }
}

/// Runs a script in an empty directory, and returns the bytes of the file `out` there.
func made(_ script: String) async throws -> [UInt8] {
  let folder = try TemporaryDirectory()
  let done = try await ToolProcess.run("sh", ["-ec", script], environment: ["LC_ALL": "C.UTF-8"], in: folder.path)
  try #require(done.status == 0, "\(done.errors)")
  return Array(try Data(contentsOf: URL(filePath: folder.path.appending("out").string)))
}

func sha256(_ bytes: [UInt8]) async throws -> String {
  let folder = try TemporaryDirectory()
  let file = folder.path.appending("file")
  try Data(bytes).write(to: URL(filePath: file.string))
  return String(try await ToolProcess.run("sha256sum", [file.string]).output.prefix(64))
}
