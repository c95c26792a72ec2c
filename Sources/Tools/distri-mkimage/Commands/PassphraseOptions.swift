// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import SystemPackage

/// Where the passphrase of an encrypted disk comes from: never from the command line, which everybody on the machine can read.
struct PassphraseOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The passphrase of an encrypted disk is the first line of this file; - is standard input. Default: the terminal asks.",
      valueName: "file"))
  var passphraseFile: String?

  /// - Throws: ``MkimageError/unusableFile(_:reason:)``; `ValidationError` where nobody can be asked.
  func read() throws -> Passphrase {
    let first = try Passphrase.read(from: passphraseFile, option: "--passphrase-file", prompt: "Passphrase: ")
    if passphraseFile == nil, try Passphrase.ask("The same again: ") != first {
      throw ValidationError("these are two passphrases; nothing has been made")
    }
    return first
  }
}

extension Passphrase {
  /// - Parameters:
  ///   - file: has it as its first line; `-` is standard input. Nil: a person is asked.
  ///   - option: what names a file.
  static func read(from file: String?, option: String, prompt: String) throws -> Passphrase {
    if let file {
      let bytes = try FilePath(file == "-" ? "/dev/stdin" : file).contents(atMost: 1 << 16)
      return try Passphrase(Array(bytes.prefix { $0 != UInt8(ascii: "\n") }), source: file)
    }
    guard isatty(STDIN_FILENO) == 1 else {
      throw ValidationError("nobody is there to be asked for the passphrase; \(option) FILE names a file with it")
    }
    return try ask(prompt)
  }

  /// What is typed on the terminal is not shown.
  fileprivate static func ask(_ prompt: String) throws -> Passphrase {
    var settings = termios()
    guard tcgetattr(STDIN_FILENO, &settings) == 0 else { throw Errno(rawValue: errno) }
    var hidden = settings
    hidden.c_lflag &= ~tcflag_t(ECHO)
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden)
    defer {
      tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
      _ = try? FileDescriptor.standardError.writeAll("\n".utf8)
    }
    try FileDescriptor.standardError.writeAll(prompt.utf8)
    return try Passphrase(Array((readLine() ?? "").utf8), source: "the passphrase")
  }
}
