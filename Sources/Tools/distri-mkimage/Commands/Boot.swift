// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import Glibc
import SystemPackage
import ToolSupport

/// `distri-mkimage boot`.
struct Boot: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Boot an image in a virtual machine, with its console on the terminal.",
    discussion: """
      The exit status is that of the commands that the image runs. The image is not changed unless --write is given. On a terminal,
      Ctrl-A X ends the machine.

        distri-mkimage boot demo/image --timeout 60 --append 'distri.run="ls /ro"'
      """)

  @Argument(help: ArgumentHelp("The directory that build made.", valueName: "dir"))
  var directory: String

  @Option(help: ArgumentHelp("Stop the machine after so many seconds, with status 69. Default: never.", valueName: "seconds"))
  var timeout: Int?

  @Option(help: ArgumentHelp("Memory of the machine in MiB.", valueName: "number"))
  var memory = 1024

  @Option(help: ArgumentHelp("Processors of the machine.", valueName: "number"))
  var processors = 2

  @Option(help: ArgumentHelp("qemu's accelerator. The default works everywhere; kvm is faster where it works.", valueName: "name"))
  var accelerator = "tcg,thread=multi"

  @Option(help: ArgumentHelp("Kernel parameters to add.", valueName: "text"))
  var append: [String] = []

  @Flag(help: "Let the machine change the image.")
  var write = false

  func validate() throws {
    guard (128...1 << 20).contains(memory) else { throw ValidationError("--memory is 128 to 1048576 MiB") }
    guard (1...256).contains(processors) else { throw ValidationError("--processors is 1 to 256") }
    guard timeout.map({ (1...86400).contains($0) }) ?? true else { throw ValidationError("--timeout is 1 to 86400 seconds") }
  }

  func run() throws {
    var parameters = try commandLine()
    // Nobody is there to use a rescue shell.
    if isatty(STDIN_FILENO) != 1 { parameters.append("distri.rescue=no") }
    let machine = VirtualMachine(
      directory: FilePath(directory), parameters: parameters + append, memory: memory, processors: processors,
      accelerator: accelerator, isWritable: write)
    throw ExitCode(try machine.run(seconds: timeout))
  }

  private func commandLine() throws -> [String] {
    let path = FilePath(directory).appending(OutputDirectory.commandLine)
    guard let data = FileManager.default.contents(atPath: path.string) else {
      throw MkimageError.unusableFile(directory, reason: "it is no directory that distri-mkimage build made")
    }
    return [String(decoding: data.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)]
  }
}
