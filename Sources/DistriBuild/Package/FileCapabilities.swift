// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The capabilities of a file: the words of `setcap`, and what the kernel reads from `security.capability`.
struct FileCapabilities: Hashable {
  var permitted: UInt64 = 0
  var inheritable: UInt64 = 0
  var isEffective = false

  /// Parses clauses such as `cap_net_admin=ep` or `cap_net_raw,cap_net_admin+eip`.
  ///
  /// - Returns: nil for a word that is unknown.
  init?(parsing text: String) {
    for clause in text.split(separator: " ") {
      guard let sign = clause.firstIndex(where: { $0 == "=" || $0 == "+" }) else { return nil }
      var set: UInt64 = 0
      for name in clause[..<sign].lowercased().split(separator: ",") {
        if name == "all" {
          set = (1 << UInt64(Self.names.count)) &- 1
        } else if name.hasPrefix("cap_"), let number = Self.names.firstIndex(of: String(name.dropFirst(4))) {
          set |= 1 << UInt64(number)
        } else {
          return nil
        }
      }
      guard set != 0 else { return nil }
      for flag in clause[clause.index(after: sign)...] {
        switch flag {
        case "p": permitted |= set
        case "i": inheritable |= set
        case "e": isEffective = true
        default: return nil
        }
      }
    }
    guard permitted | inheritable != 0 else { return nil }
  }

  /// `struct vfs_cap_data` of revision 2: little-endian words.
  var attribute: ExtendedAttribute {
    let words: [UInt32] = [
      0x0200_0000 | (isEffective ? 1 : 0), UInt32(truncatingIfNeeded: permitted), UInt32(truncatingIfNeeded: inheritable),
      UInt32(truncatingIfNeeded: permitted >> 32), UInt32(truncatingIfNeeded: inheritable >> 32),
    ]
    let bytes = words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * UInt32($0))) } }
    return ExtendedAttribute(name: Array("security.capability".utf8), value: bytes)
  }

  /// By the kernel's numbers, from 0.
  private static let names = [
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
    "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio",
    "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time",
    "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
    "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
  ]
}
