// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Our own builder as files of an action: the program, what rewrites ELF files, and the shared objects that both need, with their loader. The
/// machine that runs an action need not have any of it.
public struct ActionTool: Sendable {
  /// Below the input root.
  public let files: [ActionFile]
  /// The command up to the arguments.
  public let command: [String]

  /// Finds the files.
  ///
  /// - Parameters:
  ///   - program: `distri-build`.
  ///   - patchelf: the host's; nil where it has none. A build that would need it fails then.
  /// - Throws: as ``SharedObjects/init(of:searching:)`` and ``FileDigests/digest(of:)``.
  public init(program: FilePath, patchelf: FilePath?, digests: FileDigests) throws {
    let program = program.resolved()
    let objects = try SharedObjects(of: [program] + (patchelf.map { [$0] } ?? []))
    var files: [ActionFile] = []
    func add(_ file: FilePath, as path: TreePath) throws {
      let file = file.resolved()
      files.append(ActionFile(path, .file(file), digest: try digests.digest(of: file), isExecutable: true))
    }
    try add(program, as: ActionLayout.path(ActionLayout.tool, ActionLayout.program))
    if let patchelf { try add(patchelf, as: ActionLayout.path(ActionLayout.tool, ActionLayout.patchelf)) }
    for (name, file) in objects.files.sorted(by: { $0.key < $1.key }) {
      try add(file, as: ActionLayout.path(ActionLayout.tool, "lib", name))
    }
    var command = ["\(ActionLayout.tool)/\(ActionLayout.program)"]
    if let interpreter = objects.interpreter {
      try add(FilePath(interpreter), as: ActionLayout.path(ActionLayout.tool, "lib", ActionLayout.loader))
      command = Self.command(of: ActionLayout.program, in: FilePath(ActionLayout.tool))
    }
    self.files = files
    self.command = command
  }

  /// How a program is run with the loader and the shared objects that lie beside it.
  public static func command(of program: String, in tool: FilePath) -> [String] {
    let libraries = tool.appending("lib")
    return [
      libraries.appending(ActionLayout.loader).string, "--library-path", libraries.string, tool.appending(program).string,
    ]
  }
}
