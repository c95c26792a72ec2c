// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The directory `bin/` of a package: what users, scripts and other packages start.
///
/// Each program of `out/bin` and `out/sbin` (the first wins) gets an entry: a ``WrapperStub`` where there is something to set, else
/// a link to the program. Names that exist already, such as a definition's own wrappers, stay.
public struct Wrappers: Sendable {
  private let package: PackageID
  private let tree: PackageTree
  private let others: PackageSet
  private let environment: WrapperEnvironment

  /// Looks at a package and its run-time closure.
  ///
  /// - Parameters:
  ///   - closure: the packages that the package may use when it runs.
  ///   - libraries: the names in the package's library farm.
  /// - Throws: what reading the packages of the closure throws.
  public init(of package: PackageID, tree: PackageTree, closure: PackageSet, libraries: some Sequence<EntryName>) throws {
    self.package = package
    self.tree = tree
    others = closure
    environment = try WrapperEnvironment(
      of: package, tree: tree, closure: closure, libraries: Set(libraries.map(\.description)))
  }

  /// Puts the entries into `bin/`.
  ///
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for an architecture without wrapper code; ``BuildError/system(operation:path:_:)``.
  public func insert(into tree: inout PackageTree) throws {
    let directories = ["out/bin", "out/sbin"].map(PackageLayout.path)
    var programs: [EntryName: TreePath] = [:]
    for directory in directories {
      for name in tree.names(in: directory) where programs[name] == nil && isProgram(directory.appending(name)) {
        programs[name] = directory.appending(name)
      }
    }
    for (name, program) in programs.sorted(by: { $0.key < $1.key }) {
      let entry = PackageLayout.bin.appending(name)
      guard tree.kind(of: entry) == nil else { continue }
      if let other = siblingTarget(of: program, among: programs) {
        tree.insertLink(entry, to: other.description)
        continue
      }
      let stub = try stub(for: program, named: name.description)
      if Self.interpreters.contains(name.description) || (stub.variables.isEmpty && stub.argumentZero == .asGiven) {
        tree.insertLink(entry, to: "../\(program)")
      } else {
        tree.insertFile(entry, try stub.image(for: package.architecture), permissions: 0o755)
      }
    }
  }

  /// Shells start too often to pay for a wrapper, and what they start inherits their environment.
  private static let interpreters: Set<String> = ["sh", "bash"]

  /// The program that a relative link beside it leads to, so that `python3` → `python3.11` stays a link.
  private func siblingTarget(of program: TreePath, among programs: [EntryName: TreePath]) -> EntryName? {
    guard case .symbolicLink(let target) = tree.kind(of: program), target.first != UInt8(ascii: "/"),
      let components = PackageLayout.inside(target, at: program.parent.components, of: package),
      let name = components.last, name != program.name, programs[name]?.components == components
    else { return nil }
    return name
  }

  /// Executable files, and links to them or out of the package.
  private func isProgram(_ path: TreePath) -> Bool {
    switch tree[path]?.entry.kind {
    case .regular, .hardLink: return (tree.file(at: path)?.entry.permissions ?? 0) & 0o111 != 0
    case .symbolicLink(let target):
      guard let inside = PackageLayout.inside(target, at: path.parent.components, of: package) else { return true }
      guard let end = try? tree.resolve(TreePath(components: inside), in: package) else { return false }
      return (tree.file(at: end)?.entry.permissions ?? 0) & 0o111 != 0
    default: return false
    }
  }

  private func stub(for program: TreePath, named name: String) throws -> WrapperStub {
    let file = try tree.resolve(program, in: package) ?? program
    let interpreter = try tree.file(at: file).flatMap { try Script(of: $0, in: tree) }?.interpreterName
    return WrapperStub(
      program: PackageLayout.inView(program, of: package),
      variables: environment.variables(interpreter: interpreter, program: name),
      argumentZero: interpreter == nil && environment.looksBesideItself ? .besideProgram : .asGiven)
  }
}
