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

  @Flag(help: "Bring what opens an encrypted root.")
  var encrypt = false

  @OptionGroup var programs: InitramfsOptions

  @Option(name: .shortAndLong, help: ArgumentHelp("The file to make; - is standard output.", valueName: "file"))
  var output = "-"

  func validate() throws {
    guard output != "-" || isatty(STDOUT_FILENO) != 1 else { throw ValidationError("an initramfs is no text: give --output FILE") }
  }

  func run() throws {
    let found = try KernelPackage.find(kernel, in: try LocalStore(path: storeOptions.storePath))
    func archive(_ work: FilePath) throws -> [UInt8] {
      try programs.archive(for: found, modules: modules, opensEncryptedDisks: encrypt, time: Build.sourceDate(), work: work)
    }
    guard output == "-" else {
      return try OutputFile(path: FilePath(output)).replace { try Data(try archive($1)).write(to: URL(filePath: $0.string)) }
    }
    try FileDescriptor.standardOutput.writeAll(try Scratch.withDirectory(archive))
  }
}
