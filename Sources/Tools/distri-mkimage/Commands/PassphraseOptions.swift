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

  /// - Returns: the passphrase, and where it is from.
  /// - Throws: ``MkimageError/unusableFile(_:reason:)``; `ValidationError` where nobody can be asked.
  func read() throws -> ([UInt8], source: String) {
    if let passphraseFile {
      let bytes = try FilePath(passphraseFile == "-" ? "/dev/stdin" : passphraseFile).contents(atMost: 1 << 16)
      return (Array(bytes.prefix { $0 != UInt8(ascii: "\n") }), passphraseFile)
    }
    guard isatty(STDIN_FILENO) == 1 else {
      throw ValidationError("nobody is there to be asked for the passphrase; --passphrase-file FILE names a file with it")
    }
    let first = try ask("Passphrase: ")
    guard try ask("The same again: ") == first else { throw ValidationError("these are two passphrases; nothing has been made") }
    return (first, "the passphrase")
  }

  private func ask(_ prompt: String) throws -> [UInt8] {
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
    return Array((readLine() ?? "").utf8)
  }
}
