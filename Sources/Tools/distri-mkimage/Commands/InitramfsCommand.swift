// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage
import ToolSupport

/// `distri-mkimage initramfs`.
struct InitramfsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "initramfs",
    abstract: "Make the initramfs of a kernel, as build does.",
    discussion: """
      The same kernel and programs give the same bytes; SOURCE_DATE_EPOCH sets the time of all files.

        distri-mkimage initramfs --store demo/store --kernel linux-image -o initramfs
      """)

  @OptionGroup var storeOptions: StoreOptions

  @Option(help: ArgumentHelp("The package that has the kernel, or needs the one that has it.", valueName: "name"))
  var kernel = "linux-image"

  @Option(
    name: .customLong("module"),
    help: ArgumentHelp("A kernel module to load whatever hardware there is.", valueName: "name"))
  var modules: [String] = []

  @Option(
    name: .customLong("firmware"),
    help: ArgumentHelp("A package with firmware that drivers may ask for, besides the kernel's own.", valueName: "name"))
  var firmware: [String] = []

  @Flag(help: "Bring what opens an encrypted root.")
  var encrypt = false

  @OptionGroup var programs: InitramfsOptions

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to make; - is standard output.", valueName: "file"))
  var output = "-"

  func validate() throws {
    guard output != "-" || isatty(STDOUT_FILENO) != 1 else { throw ValidationError("an initramfs is no text: give --output FILE") }
  }

  func run() throws {
    let store = try LocalStore(path: storeOptions.storePath)
    let found = try KernelPackage.find(kernel, in: store)
    let wishes = InitramfsWishes(modules: modules, opensEncryptedDisks: encrypt) {
      try firmware.map { try store.image(of: try store.resolve($0)) }
    }
    func archive(_ work: FilePath) throws -> [UInt8] {
      try programs.archive(for: found, wishes, time: Build.sourceDate(), work: work)
    }
    guard output == "-" else {
      return try OutputFile(path: FilePath(output)).replace { try Data(try archive($1)).write(to: URL(filePath: $0.string)) }
    }
    try FileDescriptor.standardOutput.writeAll(try Scratch.withDirectory(archive))
  }
}
