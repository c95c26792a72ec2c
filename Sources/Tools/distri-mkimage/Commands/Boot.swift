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
        distri-mkimage boot server.img --ssh 2222
      """)

  @Argument(help: ArgumentHelp("The directory that build made, or a disk.", valueName: "image"))
  var image: String

  @Flag(name: .customLong("bios"), help: "Start a disk on a machine with a BIOS instead of UEFI.")
  var usesBIOS = false

  @Option(name: .customLong("disk"), help: ArgumentHelp("What hardware the machine sees the disk as.", valueName: "kind"))
  var bus = VirtualMachine.DiskBus.virtio

  @Option(help: ArgumentHelp("Lead this port of this machine to the SSH server of the virtual one.", valueName: "port"))
  var ssh: UInt16?

  @Option(help: ArgumentHelp("Show a screen to VNC viewers at this port of this machine, 5900 or above.", valueName: "port"))
  var vnc: UInt16?

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
    guard vnc.map({ $0 >= VirtualMachine.firstScreenPort }) ?? true else { throw ValidationError("--vnc is 5900 to 65535") }
    guard (128...1 << 20).contains(memory) else { throw ValidationError("--memory is 128 to 1048576 MiB") }
    guard (1...256).contains(processors) else { throw ValidationError("--processors is 1 to 256") }
    guard timeout.map({ (1...86400).contains($0) }) ?? true else { throw ValidationError("--timeout is 1 to 86400 seconds") }
  }

  func run() throws {
    let machine = VirtualMachine(
      source: try source(), bus: bus, memory: memory, processors: processors, accelerator: accelerator, isWritable: write,
      sshPort: ssh,
      screenPort: vnc)
    throw ExitCode(try machine.run(seconds: timeout))
  }

  private func source() throws -> VirtualMachine.Source {
    let path = FilePath(image)
    var isDirectory = false
    if FileManager.default.fileExists(atPath: image, isDirectory: &isDirectory), !isDirectory {
      guard append.isEmpty else {
        throw ValidationError("a disk has its kernel parameters in it: give --kernel-parameter to build instead of --append")
      }
      return .disk(path, try DiskFormat(ofFileAt: path), usesBIOS ? .bios : .uefi)
    }
    guard !usesBIOS else { throw ValidationError("--bios is for disks, which build makes with --layout gpt") }
    var parameters = try commandLine(of: path)
    // Nobody is there to use a rescue shell.
    if isatty(STDIN_FILENO) != 1 { parameters.append("distri.rescue=no") }
    return .directory(path, parameters: parameters + append)
  }

  private func commandLine(of directory: FilePath) throws -> [String] {
    let path = directory.appending(OutputDirectory.commandLine)
    guard let data = FileManager.default.contents(atPath: path.string) else {
      throw MkimageError.unusableFile(directory.string, reason: "it is no image that distri-mkimage build made")
    }
    return [String(decoding: data.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)]
  }
}

extension VirtualMachine.DiskBus: ExpressibleByArgument {}
