// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// From the first process of the initramfs to the first process of the root.
enum Boot {
  /// The commands that an image runs instead of an init program: a shell command a line.
  static let commandsFile = "/etc/distri/boot-commands"
  /// Where systemd has it.
  private static let udev = "/lib/systemd/systemd-udevd"

  /// Never returns: the machine runs its init program, or is off.
  static func run() -> Never {
    var parameters: KernelParameters?
    var drivers = Drivers()
    do {
      try mountKernelFileSystems()
      Keymap.loadOurs()
      let read = try KernelParameters(parsing: System.text(of: "/proc/cmdline"))
      parameters = read
      try enterRoot(read, &drivers)
      // For the port on which we report, whoever loads what else there is.
      try View.start(until: Deadline(seconds: read.timeout), meanwhile: { drivers.loadVirtio() })
      report(status: try start(read, &drivers))
      System.end()
    } catch {
      let failure = error as? BootFailure ?? BootFailure("\(error)")
      Console.explain(failure)
      report(status: 70)
      // That of the keyboard may be among them.
      drivers.loadRest()
      if parameters?.offersRescue ?? true { Rescue.offerShell() }
      Console.say("turning the machine off")
      System.end()
    }
  }

  private static func mountKernelFileSystems() throws {
    for directory in ["/proc", "/sys", "/dev", "/sysroot"] { try System.makeDirectory(directory) }
    // /proc is there already where the Swift runtime needed it (see CInit.c).
    if !System.exists("/proc/self") {
      try System.mount("proc", on: "/proc", type: "proc", flags: [.noSetUserID, .noDevices, .noExecution])
    }
    try System.mount("sysfs", on: "/sys", type: "sysfs", flags: [.noSetUserID, .noDevices, .noExecution])
    try System.mount("devtmpfs", on: "/dev", type: "devtmpfs", flags: [.noSetUserID], options: "mode=0755")
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
      try System.makeLink("/dev/\(name)", to: "/proc/self/\(target)")
    }
  }

  private static func enterRoot(_ parameters: KernelParameters, _ drivers: inout Drivers) throws {
    guard let root = parameters.root else {
      throw BootFailure(
        "the kernel parameter root= is missing", hints: ["it names the root file system: LABEL=…, UUID=… or /dev/…"])
    }
    if System.exists(ModuleIndex.path) { drivers = Drivers(try ModuleIndex(parsing: System.text(of: ModuleIndex.path))) }
    if let uuid = parameters.encryptedDevice {
      let path = try DeviceFinder(wanted: .encrypted(uuid)).find(until: Deadline(seconds: parameters.timeout), &drivers)
      // Somebody has to type.
      drivers.loadRest()
      try EncryptedDevice(path: path, uuid: uuid).open()
    }
    let device = try DeviceFinder(wanted: root).find(until: Deadline(seconds: parameters.timeout), &drivers)
    do {
      try System.mount(device, on: "/sysroot", type: "ext4", flags: parameters.isReadOnly ? [.readOnly] : [])
    } catch {
      throw BootFailure("\(error)", hints: ["boot another system and run e2fsck on \(device)"])
    }
    for directory in ["dev", "proc", "sys"] { try System.move("/\(directory)", to: "/sysroot/\(directory)") }
    try System.mount("tmpfs", on: "/sysroot/run", type: "tmpfs", flags: [.noSetUserID, .noDevices], options: "mode=0755")
    try System.makeDirectory("/sysroot" + View.initramfs)
    try System.bind("/", on: "/sysroot" + View.initramfs)
    try System.switchRoot(to: "/sysroot")
    drivers.follow(to: View.initramfs)
  }

  /// - Returns: the status of the first command that failed, 0 when all went well. Does not return where an init program takes over.
  private static func start(_ parameters: KernelParameters, _ drivers: inout Drivers) throws -> Int32 {
    let text = parameters.initProgram == nil ? try? System.text(of: commandsFile) : nil
    let hasUdev = parameters.command == nil && parameters.initProgram == nil && text == nil && System.exists(udev)
    if !hasUdev { drivers.loadRest() }
    drivers.removeFiles()
    if let command = parameters.command { return try run([command]) }
    if let text { return try run(commands(in: text)) }
    let program = parameters.initProgram ?? "/sbin/init"
    // From here on the machine is its own: it has started, and when it is turned off, it was meant to be.
    report(status: 0)
    let failure = Process.become(path: program, arguments: [program])
    throw BootFailure("\(failure)", hints: ["init=PROGRAM names the first process, distri.run=COMMAND a command to run instead"])
  }

  /// The lines that are neither blank nor comments.
  static func commands(in text: String) -> [String] {
    text.split(separator: "\n").map(String.init).filter { line in
      guard let first = line.first(where: { $0 != " " && $0 != "\t" }) else { return false }
      return first != "#"
    }
  }

  private static func run(_ commands: [String]) throws -> Int32 {
    guard let shell = Rescue.shell() else {
      throw BootFailure("there is no shell to run commands with: neither /bin/sh nor /bin/bash is in the view")
    }
    for command in commands {
      let status = try Process(path: shell, arguments: [shell, "-c", command]).wait()
      if status != 0 {
        Console.say("«\(command)» ended with status \(status)")
        return status
      }
    }
    return 0
  }

  /// Tells the virtual machine's owner how it went, where `distri-mkimage boot` gave the machine a port for that.
  private static func report(status: Int32) {
    for port in System.names(in: "/sys/class/virtio-ports") {
      guard let name = try? System.text(of: "/sys/class/virtio-ports/\(port)/name"), name == "org.distri.status\n" else { continue }
      if System.write(Array("exit \(status)\n".utf8), toPath: "/dev/\(port)") { return }
    }
  }
}

/// The way out when the machine cannot start.
enum Rescue {
  /// A shell of the view, which is the only one once that is there, or the static one of the initramfs.
  static func shell() -> String? {
    ["/bin/sh", "/bin/bash", View.initramfs + "/bin/sh"].first(where: System.isExecutable)
  }

  /// Gives the person at the console a shell, where there is one, until they leave it.
  static func offerShell() {
    guard let shell = shell() else {
      return Console.say(
        "there is no shell to look around: the machine that made the initramfs had no static busybox (busybox-static)")
    }
    Console.say("here is a shell to look around; the machine is turned off when you leave it")
    Console.say(
      "  the kernel's messages: dmesg; its parameters: cat /proc/cmdline; disks: ls /sys/class/block, blkid; drivers: ls /modules")
    do {
      _ = try Process(path: shell, arguments: ["-" + (shell.split(separator: "/").last ?? "sh")], session: .console).wait()
    } catch {
      Console.say("\(error)")
    }
  }
}
