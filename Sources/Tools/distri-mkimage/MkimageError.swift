// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Why there is no image, or it did not boot.
enum MkimageError: Error, Equatable {
  /// A program of the system that is not installed, and the Debian package that has it.
  case missingTool(String, package: String)
  /// A program of the system that failed, and what it said.
  case toolFailed(String, status: Int32, words: String)
  /// A program or shared object that the initramfs needs.
  case missingObject(String, neededBy: String)
  /// A package without a kernel.
  case noKernel(in: String)
  /// The kernel has no such module, or one that cannot be read.
  case unusableModule(String, reason: String)
  /// A file that the image cannot hold as it is.
  case unusableFile(String, reason: String)
  /// What is wrong with an image description, and where; the column counts bytes.
  case invalidDescription(String, line: Int, column: Int, reason: String)
  /// A user or group that cannot be made.
  case invalidAccount(String, reason: String)
  /// A unit of systemd that cannot be enabled.
  case unusableUnit(String, reason: String)
  /// The size asked for, and what is needed at least; bytes.
  case tooSmall(UInt64, needed: UInt64)
  /// The virtual machine did not do what it should.
  case machine(String)
}

extension MkimageError: CustomStringConvertible {
  var description: String {
    switch self {
    case .missingTool(let tool, let package):
      "\(tool) is not installed; in Debian it is in the package \(package)"
    case .toolFailed(let tool, let status, let words):
      "\(tool) failed with status \(status): \(words)"
    case .missingObject(let name, let user):
      "\(user) needs \(name), which was not found; --library-path DIR adds a directory to look in"
    case .noKernel(let package):
      "\(package) has no kernel: neither it nor what it depends on has out/boot/vmlinuz-* with out/lib/modules/*"
    case .unusableModule(let name, let reason):
      "kernel module \(name): \(reason)"
    case .unusableFile(let name, let reason):
      "\(name): \(reason)"
    case .invalidDescription(let path, let line, let column, let reason):
      "\(path):\(line):\(column): \(reason)"
    case .invalidAccount(let name, let reason):
      "account \(name): \(reason)"
    case .unusableUnit(let name, let reason):
      "unit \(name) cannot be enabled: \(reason)"
    case .tooSmall(let size, let needed):
      "\(size >> 20) MiB are too small for these packages; at least \((needed + (1 << 20) - 1) >> 20) MiB are needed"
    case .machine(let what):
      what
    }
  }
}
