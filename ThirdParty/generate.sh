#!/bin/bash
# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

# generate.sh [SWIFT]: makes Sources/DistriRemote/Schema/*.pb.swift of the definitions beside this script. Needs protoc (Debian: protobuf-compiler,
# libprotobuf-dev); the plugin is built once, from the version of swift-protobuf that Package.resolved names.
set -euo pipefail
cd "$(dirname "$0")/.."
swift=${1:-swift}
scratch=.build-protoc
output=Sources/DistriRemote/Schema
"$swift" build -c release --scratch-path "$scratch" --product protoc-gen-swift
plugin=$("$swift" build -c release --scratch-path "$scratch" --show-bin-path)/protoc-gen-swift
files="build/bazel/remote/execution/v2/remote_execution.proto build/bazel/semver/semver.proto google/bytestream/bytestream.proto
  google/longrunning/operations.proto google/rpc/status.proto"
# shellcheck disable=SC2086
protoc --plugin=protoc-gen-swift="$plugin" --swift_opt=FileNaming=DropPath --swift_opt=Visibility=Internal --swift_out="$output" \
  -I ThirdParty/remote-apis -I ThirdParty/googleapis -I /usr/include $files
for file in "$output"/*.pb.swift; do
  # The package's name is in front of every type; strict memory safety wants a word at what is declared unsafe; nothing of it is compiled without
  # the trait.
  sed -i -e 's/Build_Bazel_Remote_Execution_V2_/REAPI_/g' -e 's/= _StorageClass.defaultInstance/= unsafe _StorageClass.defaultInstance/' -e '1i // swift-format-ignore-file\n#if RemoteExecution\n' "$file"
  printf '\n#endif\n' >>"$file"
done
