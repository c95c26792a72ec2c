// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The users and groups of an image: those that every image has, and those of its description.
struct Accounts {
  private struct Entry {
    var user: ImageDescription.User
    var uid: UInt32
    var gid: UInt32
  }

  private var users: [Entry] = []
  private var groups: [(name: String, gid: UInt32)] = []

  /// Who is there in any case. A user of the description with such a name changes it.
  private static let users: [ImageDescription.User] = [
    .init(name: "root", uid: 0, gid: 0, gecos: "root", home: "/root"),
    .init(name: "nobody", uid: 65534, gid: 65534, gecos: "nobody", home: "/nonexistent", shell: "/bin/false"),
  ]
  /// Who may read `/etc/shadow`.
  static let shadowGroup: UInt32 = 42
  private static let groups: [(String, UInt32)] = [("root", 0), ("tty", 5), ("shadow", shadowGroup), ("nogroup", 65534)]
  /// Numbers for people, as Debian has them.
  private static let people: Range<UInt32> = 1000..<60000

  /// - Throws: ``MkimageError/invalidAccount(_:reason:)`` for a name or number that is there twice, or a group that is not there.
  init(of description: ImageDescription) throws(MkimageError) {
    for (name, gid) in Self.groups { groups.append((name, gid)) }
    for group in description.groups { try addGroup(group.name, gid: group.gid) }
    let own = Dictionary(grouping: description.users, by: \.name)
    if let twice = own.values.first(where: { $0.count > 1 })?.first {
      throw .invalidAccount(twice.name, reason: "it is there twice")
    }
    let builtIn = Self.users.map { Self.merge($0, own[$0.name]?.first) }
    for user in builtIn + description.users.filter({ user in !Self.users.contains { $0.name == user.name } }) { try addUser(user) }
  }

  private static func merge(_ base: ImageDescription.User, _ own: ImageDescription.User?) -> ImageDescription.User {
    guard var merged = own else { return base }
    merged.uid = merged.uid ?? base.uid
    merged.gid = merged.gid ?? base.gid
    if merged.gecos.isEmpty { merged.gecos = base.gecos }
    if merged.home.isEmpty { merged.home = base.home }
    return merged
  }

  private mutating func addGroup(_ name: String, gid: UInt32?) throws(MkimageError) {
    let gid = gid ?? nextFree(of: groups.map(\.gid))
    guard !groups.contains(where: { $0.name == name }) else { throw .invalidAccount(name, reason: "the group is there twice") }
    if let other = groups.first(where: { $0.gid == gid }) {
      throw .invalidAccount(name, reason: "the group has the number \(gid), as \(other.name) has")
    }
    groups.append((name, gid))
  }

  private mutating func addUser(_ user: ImageDescription.User) throws(MkimageError) {
    let uid = user.uid ?? nextFree(of: users.map(\.uid) + groups.map(\.gid))
    if let other = users.first(where: { $0.uid == uid }) {
      throw .invalidAccount(user.name, reason: "it has the number \(uid), as \(other.user.name) has")
    }
    let gid: UInt32
    if let given = user.gid {
      gid = given
    } else if let group = groups.first(where: { $0.name == user.name }) {
      gid = group.gid
    } else {
      gid = uid
      try addGroup(user.name, gid: uid)
    }
    if let absent = user.groups.first(where: { name in !groups.contains { $0.name == name } }) {
      throw .invalidAccount(user.name, reason: "there is no group \(absent); group { name: \"\(absent)\" } makes it")
    }
    users.append(Entry(user: user, uid: uid, gid: gid))
  }

  private func nextFree(of numbers: [UInt32]) -> UInt32 {
    let taken = Set(numbers)
    return Self.people.first { !taken.contains($0) } ?? Self.people.upperBound
  }

  /// The numbers of an owner.
  ///
  /// - Throws: ``MkimageError/invalidAccount(_:reason:)`` for a name that is not there.
  func numbers(of owner: ImageDescription.Owner) throws(MkimageError) -> (uid: UInt32, gid: UInt32) {
    guard let uid = UInt32(owner.user) ?? users.first(where: { $0.user.name == owner.user })?.uid else {
      throw .invalidAccount(owner.user, reason: "a file belongs to it, but there is no such user")
    }
    guard let gid = UInt32(owner.group) ?? groups.first(where: { $0.name == owner.group })?.gid else {
      throw .invalidAccount(owner.group, reason: "a file belongs to it, but there is no such group")
    }
    return (uid, gid)
  }

  var passwd: String {
    users.map { entry in
      let user = entry.user
      return "\(user.name):x:\(entry.uid):\(entry.gid):\(user.gecos):\(Self.home(of: user)):\(user.shell)\n"
    }.joined()
  }

  var group: String {
    groups.map { group in
      let members = users.filter { $0.user.groups.contains(group.name) }.map(\.user.name).joined(separator: ",")
      return "\(group.name):x:\(group.gid):\(members)\n"
    }.joined()
  }

  /// Whoever has no hash has `*`: no password opens the account, a key does.
  var shadow: String {
    users.map { "\($0.user.name):\($0.user.passwordHash.isEmpty ? "*" : $0.user.passwordHash):::::::\n" }.joined()
  }

  /// Adds the home directories of the description's users, and their keys.
  func addHomes(to contents: inout Contents) throws {
    for entry in users where entry.uid == 0 || Self.people.contains(entry.uid) {
      let home = try TreePath(parsing: Self.home(of: entry.user))
      func add(_ path: TreePath, _ kind: Contents.Kind, _ permissions: UInt16) throws {
        try contents.add(path, .init(kind: kind, permissions: permissions, userID: entry.uid, groupID: entry.gid))
      }
      if !home.isRoot { try add(home, .directory, 0o700) }
      guard !entry.user.authorizedKeys.isEmpty else { continue }
      let folder = home.appending(try EntryName(".ssh"))
      try add(folder, .directory, 0o700)
      let keys = entry.user.authorizedKeys.map { $0 + "\n" }.joined()
      try add(folder.appending(try EntryName("authorized_keys")), .regular(.bytes(Array(keys.utf8))), 0o600)
    }
  }

  private static func home(of user: ImageDescription.User) -> String { user.home.isEmpty ? "/home/\(user.name)" : user.home }
}
