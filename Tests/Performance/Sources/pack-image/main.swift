// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// pack-image DIRECTORY IMAGE [none|lz4|zstd]: the image writer and nothing else.

import DistriStore
import SystemPackage

let arguments = CommandLine.arguments
guard arguments.count >= 3 else {
  print("usage: pack-image DIRECTORY IMAGE [none|lz4|zstd]")
  throw Errno.invalidArgument
}
var options = ImageWriter.Options()
switch arguments.dropFirst(3).first {
case "lz4": options.compression = .lz4
case "zstd": options.compression = .zstd()
default: break
}
var tree = try DirectoryTree(path: FilePath(arguments[1]))
let path = FilePath(arguments[2])
let file = try FileDescriptor.open(path, .readWrite, options: [.create, .truncate], permissions: [.ownerReadWrite])
let summary = try file.closeAfter { try ImageWriter(options: options).write(&tree, to: file, path: path) }
print("\(summary.inodeCount) inodes, \(summary.contentByteCount) bytes of content, an image of \(summary.byteCount) bytes")
