// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

/// The demo is the main job on real input: what it says and leaves is checked here.
@Suite(.serialized) struct WholeLifeTests {
  /// Kept between runs for what was downloaded, and used by the examples afterwards.
  static let folder = ToolProcess.binaries.removingLastComponent().appending("system").lexicallyNormalized()
  static let checkout = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()

  @Test func `a package is imported, mounted, built, published, installed and booted`() async throws {
    let demo = try await ToolProcess.run(
      Self.checkout.appending("Examples/demo.sh").string, [ToolProcess.binaries.string, Self.folder.string])
    try #require(demo.status == 0, "\(demo.output.suffix(3000))\n\(demo.errors.suffix(3000))")

    // The demo leaves its mount for people to look around.
    let unmount = try await ToolProcess.run("distri-fuse", ["unmount", Self.folder.appending("ro").string])
    #expect(unmount.status == 0, "\(unmount.errors)")

    let said = demo.output + demo.errors
    for expected in [
      "GNU nano, version 7.2", "gcc from the view: exit status 42", "package successfully created in", "nano-amd64-7.2-2.squashfs",
      "Hello, world!",
    ] {
      #expect(said.contains(expected), "the demo does not say «\(expected)»")
    }
    // Once on this machine from the view, once from the machine installed over HTTP, once on the console of the booted one.
    #expect(said.components(separatedBy: "GNU nano, version 7.2").count > 3)
    #expect(said.contains("PRETTY_NAME"))

    let store = try FileManager.default.contentsOfDirectory(atPath: Self.folder.appending("store").string)
    #expect(store.contains("nano-amd64-7.2-2.squashfs"))
    #expect(store.contains { $0.hasPrefix("nano-amd64-7.2-") && $0.hasSuffix("-1.squashfs") })
    let machine = Self.folder.appending("machine/roimg")
    let installed = try FileManager.default.contentsOfDirectory(atPath: machine.string)
    #expect(installed.contains("nano-amd64-7.2-2.squashfs"))
    #expect(installed.contains { $0.hasPrefix("ncurses-amd64-6.4") && $0.hasSuffix("-2.squashfs") })
    for file in installed where file.hasSuffix(".squashfs") {
      let same = FileManager.default.contentsEqual(
        atPath: machine.appending(file).string, andPath: Self.folder.appending("store").appending(file).string)
      #expect(same, "\(file) differs from the one published")
    }
  }

  @Test func `nano needs what was built for it`() async throws {
    let metadata = try String(
      contentsOfFile: Self.folder.appending("store/nano-amd64-7.2-2.meta.textproto").string, encoding: .utf8)
    #expect(metadata.contains("runtime_dep: \"ncurses-amd64-6.4-2\""))
    #expect(metadata.contains("runtime_dep: \"zlib-amd64-"))
    #expect(metadata.contains("runtime_dep: \"glibc-amd64-"))
  }

  @Test func `hello is built to the same bytes twice`() async throws {
    let scratch = try TemporaryDirectory()
    let store = scratch.path.appending("store")
    let copy = try await ToolProcess.run("cp", ["-a", "--link", Self.folder.appending("store").string, store.string])
    #expect(copy.status == 0, "\(copy.errors)")
    let images = try FileManager.default.contentsOfDirectory(atPath: store.string).filter { $0.hasPrefix("hello-") }
    let image = try #require(images.first { $0.hasSuffix(".squashfs") })
    for file in images { try FileManager.default.removeItem(atPath: store.appending(file).string) }
    let build = try await ToolProcess.run(
      "distri-build",
      [
        "build", "--definitions", Self.folder.appending("definitions").string, "--store", store.string, "--sources",
        Self.folder.appending("sources").string, "hello",
      ])
    try #require(build.status == 0, "\(build.errors.suffix(3000))")
    #expect(
      FileManager.default.contentsEqual(
        atPath: store.appending(image).string, andPath: Self.folder.appending("store").appending(image).string))
  }

  @Test func `the tree of real packages through the mount equals the kernel's mounts of their images`() async throws {
    let scratch = try TemporaryDirectory()
    let (store, view) = (Self.folder.appending("store"), scratch.path)
    let mount = try await ToolProcess.run("distri-fuse", ["mount", "--privileged", store.string, view.string])
    try #require(mount.status == 0, "\(mount.errors)")
    let outcome = try await ToolProcess.run(
      "python3", [Self.checkout.appending("Tests/Compare/packages.py").string, store.string, view.string, "60"])
    let status = try await ToolProcess.run("distri-fuse", ["status", view.string])
    let unmount = try await ToolProcess.run("distri-fuse", ["unmount", view.string])
    #expect(outcome.status == 0, "\(outcome.output.suffix(5000))\(outcome.errors)")
    #expect(status.output.split(separator: "\n").count == 1, "the view finds damage in sound images: \(status.output)")
    #expect(unmount.status == 0, "\(unmount.errors)")
  }
}
