// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A tiny static program that extends variables of the environment and then becomes another program.
///
/// Its code is the same for all and comes with this library (`Wrapper/wrapper.c`); only the data behind it differs. So a wrapper
/// costs no compiler run, and its bytes depend on nothing but the values here.
public struct WrapperStub: Sendable, Hashable {
  /// What to do to one variable of the environment, a list with `:` between its parts.
  public struct Variable: Sendable, Hashable {
    /// The variable's name.
    public var name: String
    /// Goes in front of what the variable holds.
    public var front: String
    /// Goes behind what the variable holds.
    public var back: String
    /// Stands for a variable that is unset or empty.
    public var defaultValue: String

    /// Makes a change of a variable.
    public init(name: String, front: String = "", back: String = "", defaultValue: String = "") {
      self.name = name
      self.front = front
      self.back = back
      self.defaultValue = defaultValue
    }
  }

  /// What the program sees as its own name.
  public enum ArgumentZero: Sendable, Hashable {
    /// What the caller gave, so that messages begin as users know them.
    case asGiven
    /// The caller's last component in the directory of the program, for programs that look for their files beside themselves.
    case besideProgram
  }

  /// The absolute path of the program.
  public var program: String
  /// The changes, in order.
  public var variables: [Variable]
  /// What the program sees as its own name.
  public var argumentZero: ArgumentZero

  /// Describes a wrapper.
  public init(program: String, variables: [Variable] = [], argumentZero: ArgumentZero = .asGiven) {
    self.program = program
    self.variables = variables
    self.argumentZero = argumentZero
  }

  /// The bytes of the wrapper: an ELF program of one segment.
  ///
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for an architecture that there is no code for, a relative path, a NUL in
  ///   a value, or a name that cannot be a variable's.
  public func image(for architecture: Architecture) throws(BuildError) -> [UInt8] {
    guard architecture == .amd64 else {
      throw .invalidPackage(program, pass: "wrappers", reason: "there is no wrapper code for \(architecture) yet")
    }
    let texts = [program] + variables.flatMap { [$0.name, $0.front, $0.back, $0.defaultValue] }
    guard program.hasPrefix("/"), !texts.contains(where: { $0.utf8.contains(0) }),
      !variables.contains(where: { $0.name.isEmpty || $0.name.utf8.contains(UInt8(ascii: "=")) })
    else {
      throw .invalidPackage(program.printable, pass: "wrappers", reason: "a path or variable that no program can be given")
    }
    var payload: [UInt8] = [UInt8(ascii: argumentZero == .asGiven ? "k" : "d")]
    for text in texts { payload += Array(text.utf8) + [0] }
    payload.append(0)
    let code = WrapperCode.amd64 + payload
    return Self.header(codeByteCount: UInt64(code.count)) + code
  }

  /// File header and two program headers for code that follows at once.
  private static func header(codeByteCount: UInt64) -> [UInt8] {
    let base: UInt64 = 0x40_0000, headerByteCount: UInt64 = 64 + 2 * 56, end = headerByteCount + codeByteCount
    func little(_ value: UInt64, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
    func segment(type: UInt64, flags: UInt64, address: UInt64, byteCount: UInt64, alignment: UInt64) -> [UInt8] {
      little(type, 4) + little(flags, 4) + little(0, 8) + little(address, 8) + little(address, 8) + little(byteCount, 8)
        + little(byteCount, 8) + little(alignment, 8)
    }
    let file: [UInt8] =
      [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + little(0, 8) + little(2, 2) + little(62, 2) + little(1, 4)
      + little(base + headerByteCount, 8) + little(64, 8) + little(0, 8) + little(0, 4) + little(64, 2) + little(56, 2)
      + little(2, 2)
      + little(64, 2) + little(0, 2) + little(0, 2)
    let load = segment(type: 1, flags: 5, address: base, byteCount: end, alignment: 0x1000)
    let stack = segment(type: 0x6474_e551, flags: 6, address: 0, byteCount: 0, alignment: 16)
    return file + load + stack
  }
}
