// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A processor architecture that packages are built for, spelled as in package names.
public enum Architecture: String, Sendable, Hashable, CaseIterable, Codable, CustomStringConvertible {
  /// x86-64.
  case amd64
  /// 32-bit x86.
  case i686
  /// AArch64.
  case arm64

  /// The architecture that this code was compiled for.
  public static var host: Architecture {
    #if arch(arm64)
    .arm64
    #elseif arch(i386)
    .i686
    #else
    .amd64
    #endif
  }

  /// The spelling in package names.
  public var description: String { rawValue }
}
