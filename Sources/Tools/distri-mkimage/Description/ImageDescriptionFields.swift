// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore

extension MessageSchema<ImageDescription> {
  /// The fields of an `image.textproto`.
  static var image: Self {
    .init(
      "an image description",
      [
        "include": .checked(\.include, TextRule.line),
        "package": .texts(\.packages), "set": .texts(\.sets), "kernel": .text(\.kernel),
        "kernel_parameter": .checkedTexts(\.kernelParameters, TextRule.line),
        "hostname": .checked(\.hostname, TextRule.hostname), "label": .checked(\.label, TextRule.label),
        "user": .required(\.users, .init(), .user) { $0.name.isEmpty ? "name" : nil },
        "group": .required(\.groups, .init(), .group) { $0.name.isEmpty ? "name" : nil },
        "enable": .checkedTexts(\.units, TextRule.unit),
        "file": .required(\.files, .init(), .file) {
          $0.path.isEmpty ? "path" : ($0.contents == nil) == ($0.source == nil) ? "contents or from, one of them" : nil
        },
        "link": .required(\.links, .init(), .link) { $0.path.isEmpty ? "path" : $0.target.isEmpty ? "target" : nil },
        "directory": .required(\.directories, .init(), .directory) { $0.path.isEmpty ? "path" : nil },
        "boot_command": .checkedTexts(\.bootCommands, TextRule.line), "module": .texts(\.modules),
        "keymap": .string(repeated: false) { image, text throws(InvalidText) in
          try TextRule.keymap(text)
          image.keymap = text
        },
        "tools": .bool(\.hasTools), "encrypt": .bool(\.isEncrypted),
        "serial": .bool(\.hasSerialConsole), "layout": .choice(\.layout), "firmware": .choice(\.firmware),
        "format": .string(repeated: true) { image, text throws(InvalidText) in
          guard let format = ImageFormat(rawValue: text) else {
            throw InvalidText(reason: "is none of \(ImageFormat.allCases.map(\.rawValue).joined(separator: ", "))")
          }
          if !image.formats.contains(format) { image.formats.append(format) }
        },
        "size": .string(repeated: false) { image, text throws(InvalidText) in
          guard let size = ByteCount(argument: text) else { throw InvalidText(reason: "is no size such as 512M or 8G") }
          image.byteCount = size.value
        },
      ])
  }
}

extension MessageSchema<ImageDescription.User> {
  static var user: Self {
    .init(
      "user",
      [
        "name": .checked(\.name, TextRule.account), "uid": .number(\.uid), "gid": .number(\.gid),
        "gecos": .checked(\.gecos, TextRule.accountField), "home": .checked(\.home, TextRule.accountPath),
        "shell": .checked(\.shell, TextRule.accountPath), "password_hash": .checked(\.passwordHash, TextRule.passwordHash),
        "authorized_key": .checkedTexts(\.authorizedKeys, TextRule.line), "group": .checkedTexts(\.groups, TextRule.account),
      ])
  }
}

extension MessageSchema<ImageDescription.Group> {
  static var group: Self { .init("group", ["name": .checked(\.name, TextRule.account), "gid": .number(\.gid)]) }
}

extension MessageSchema<ImageDescription.File> {
  static var file: Self {
    .init(
      "file",
      [
        "path": .checked(\.path, TextRule.path), "mode": .mode(\.mode), "user": .checked(\.owner.user, TextRule.owner),
        "group": .checked(\.owner.group, TextRule.owner), "contents": .string(repeated: false) { $0.contents = $1 },
        "from": .string(repeated: false) { $0.source = $1 },
      ])
  }
}

extension MessageSchema<ImageDescription.Link> {
  static var link: Self {
    .init("link", ["path": .checked(\.path, TextRule.path), "target": .checked(\.target, TextRule.line)])
  }
}

extension MessageSchema<ImageDescription.Directory> {
  static var directory: Self {
    .init(
      "directory",
      [
        "path": .checked(\.path, TextRule.path), "mode": .mode(\.mode), "user": .checked(\.owner.user, TextRule.owner),
        "group": .checked(\.owner.group, TextRule.owner),
      ])
  }
}

extension MessageSchema.Action {
  static func checked(
    _ path: WritableKeyPath<Value, String>, _ rule: @escaping @Sendable (String) throws(InvalidText) -> Void
  ) -> Self {
    .string(repeated: false) { value, text throws(InvalidText) in
      try rule(text)
      value[keyPath: path] = text
    }
  }

  static func checkedTexts(
    _ path: WritableKeyPath<Value, [String]>, _ rule: @escaping @Sendable (String) throws(InvalidText) -> Void
  ) -> Self {
    .string(repeated: true) { value, text throws(InvalidText) in
      try rule(text)
      value[keyPath: path].append(text)
    }
  }

  /// One of a few words.
  static func choice<Choice: RawRepresentable & CaseIterable>(_ path: WritableKeyPath<Value, Choice>) -> Self
  where Choice.RawValue == String {
    let names = Choice.allCases.map(\.rawValue)
    return .word(kind: "one of \(names.joined(separator: ", "))", repeated: false) { value, word throws(InvalidText) in
      guard let choice = Choice(rawValue: word) else { throw InvalidText(reason: "is none of \(names.joined(separator: ", "))") }
      value[keyPath: path] = choice
    }
  }

  /// A number of a user or group.
  static func number(_ path: WritableKeyPath<Value, UInt32?>) -> Self {
    .word(kind: "a number", repeated: false) { value, word throws(InvalidText) in
      // The largest one means «nobody» to system calls.
      guard let number = UInt32(word), number < UInt32.max else { throw InvalidText(reason: "is no number of a user or group") }
      value[keyPath: path] = number
    }
  }

  /// Permissions, in octal as they are written everywhere.
  static func mode(_ path: WritableKeyPath<Value, UInt16>) -> Self {
    .word(kind: "an octal number", repeated: false) { value, word throws(InvalidText) in
      guard let mode = UInt16(word, radix: 8), mode <= 0o7777 else { throw InvalidText(reason: "is no mode such as 0644") }
      value[keyPath: path] = mode
    }
  }

  /// Messages of which something must be there.
  ///
  /// - Parameter missing: the field that an item lacks.
  static func required<Item>(
    _ path: WritableKeyPath<Value, [Item]>, _ empty: @autoclosure @escaping () -> Item,
    _ schema: @autoclosure @escaping () -> MessageSchema<Item>, missing: @escaping (Item) -> String?
  ) -> Self {
    .message(repeated: true) { value, message, reader throws(TextDefect) in
      var item = empty()
      try reader.read(message, into: &item, schema())
      if let field = missing(item) {
        throw TextDefect(offset: message.fields.first?.offset ?? 0, reason: "\(schema().name) needs \(field)")
      }
      value[keyPath: path].append(item)
    }
  }
}
