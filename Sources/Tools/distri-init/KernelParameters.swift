// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What the boot loader asked for: the parameters of `/proc/cmdline` that concern us.
///
/// As in the kernel, double quotes keep blanks in a value, the last of several wins, and everything after `--` is not ours.
struct KernelParameters: Equatable {
  /// `root=`: which device holds the root file system.
  var root: DeviceSpecification?
  /// `rd.luks.uuid=`: which encrypted device to open before, by the UUID of its header; 16 bytes.
  var encryptedDevice: [UInt8]?
  /// `ro` was given, and no `rw` after it.
  var isReadOnly = false
  /// `init=`: the program that becomes process 1 of the root.
  var initProgram: String?
  /// `distri.run=`: a shell command to run instead of an init program; then the machine is turned off.
  var command: String?
  /// `distri.timeout=`: seconds to wait for the root device, and again for the view.
  var timeout = 30
  /// `distri.rescue=no` turns the machine off where a shell would be offered.
  var offersRescue = true

  /// - Throws: when a value of ours makes no sense.
  init(parsing text: String) throws(BootFailure) {
    for word in Self.words(of: text) {
      if word == "--" { break }
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let value = parts.count == 2 ? String(parts[1]) : ""
      switch parts[0] {
      case "root": root = try DeviceSpecification(parsing: value)
      case "rd.luks.uuid":
        // dracut and systemd take it with and without the name that they give the open device.
        guard let uuid = DeviceSpecification.bytes(ofUUID: value.hasPrefix("luks-") ? value.dropFirst(5) : value[...]) else {
          throw BootFailure("rd.luks.uuid=\(value) is no UUID")
        }
        encryptedDevice = uuid
      case "ro": isReadOnly = true
      case "rw": isReadOnly = false
      case "init": initProgram = value.isEmpty ? nil : value
      case "distri.run": command = value.isEmpty ? nil : value
      case "distri.rescue": offersRescue = value != "no"
      case "distri.timeout":
        guard let seconds = Int(value), (1...3600).contains(seconds) else {
          throw BootFailure("distri.timeout=\(value) is no number of seconds from 1 to 3600")
        }
        timeout = seconds
      default: break
      }
    }
  }

  /// Words separated by blanks outside of double quotes, the quotes removed.
  static func words(of text: String) -> [String] {
    var words: [String] = []
    var word = ""
    var isOpen = false
    var isQuoted = false
    for character in text.unicodeScalars {
      switch character {
      case "\"":
        isQuoted.toggle()
        isOpen = true
      case " ", "\t", "\n", "\r":
        if isQuoted {
          word.unicodeScalars.append(character)
        } else if isOpen {
          words.append(word)
          word = ""
          isOpen = false
        }
      default:
        word.unicodeScalars.append(character)
        isOpen = true
      }
    }
    if isOpen { words.append(word) }
    return words
  }
}

/// Which device is meant: how `root=` names it.
enum DeviceSpecification: Equatable, CustomStringConvertible {
  /// `LABEL=`: the volume name.
  case label(String)
  /// `UUID=`: of the file system; 16 bytes.
  case uuid([UInt8])
  /// `/dev/…`.
  case device(String)
  /// The UUID of an encrypted device's header, which `root=` does not name; 16 bytes.
  case encrypted([UInt8])

  /// - Throws: when the text is none of the three forms.
  init(parsing text: String) throws(BootFailure) {
    if text.hasPrefix("LABEL=") {
      let label = String(text.dropFirst(6))
      guard !label.isEmpty, label.utf8.count <= 16 else {
        throw BootFailure("root=\(text): a label has 1 to 16 bytes")
      }
      self = .label(label)
    } else if text.hasPrefix("UUID=") {
      guard let uuid = Self.bytes(ofUUID: text.dropFirst(5)) else {
        throw BootFailure("root=\(text): a UUID has 32 hexadecimal digits, as in 6f1a0a52-7a33-8000-8000-000000000001")
      }
      self = .uuid(uuid)
    } else if text.hasPrefix("/dev/"), text.count > 5, !text.contains("/../") {
      self = .device(text)
    } else {
      throw BootFailure("root=\(text) is not understood; use LABEL=…, UUID=… or /dev/…")
    }
  }

  /// The parameter as it would be written.
  var description: String {
    switch self {
    case .label(let label): "LABEL=\(label)"
    case .uuid(let bytes): "UUID=\(Self.text(ofUUID: bytes))"
    case .device(let path): path
    case .encrypted(let bytes): "LUKS UUID=\(Self.text(ofUUID: bytes))"
    }
  }

  /// Lower-case hexadecimal digits with hyphens.
  static func text(ofUUID bytes: [UInt8]) -> String {
    var text = ""
    for (index, byte) in bytes.enumerated() {
      if [4, 6, 8, 10].contains(index) { text += "-" }
      text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
    return text
  }

  /// 32 hexadecimal digits, hyphens anywhere; nil for anything else.
  static func bytes(ofUUID text: Substring) -> [UInt8]? {
    let digits = text.utf8.filter { $0 != UInt8(ascii: "-") }
    guard digits.count == 32 else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: 32, by: 2) {
      guard let high = hexadecimal(digits[index]), let low = hexadecimal(digits[index + 1]) else { return nil }
      bytes.append(high << 4 | low)
    }
    return bytes
  }

  private static func hexadecimal(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
