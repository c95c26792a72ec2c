// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// The JSON of OCI images, its names as they are there.

extension OCILayout {
  /// What leads to a blob.
  struct Descriptor: Encodable {
    struct Platform: Encodable {
      var architecture: String
      var os: String
    }

    var mediaType: String
    var digest: String
    var size: UInt64
    var platform: Platform?
    var annotations: [String: String]?
  }

  struct Manifest: Encodable {
    static let type = "application/vnd.oci.image.manifest.v1+json"

    var schemaVersion = 2
    var mediaType = type
    var config: Descriptor
    /// The lowest first.
    var layers: [Descriptor]
  }

  struct Index: Encodable {
    var schemaVersion = 2
    var mediaType = "application/vnd.oci.image.index.v1+json"
    var manifests: [Descriptor]
  }

  struct Configuration: Encodable {
    struct Process: Encodable {
      var Env: [String]
      var Cmd: [String]
    }

    struct Layers: Encodable {
      var type: String
      /// Digests of the layers before they were compressed.
      var diff_ids: [String]
    }

    struct Step: Encodable {
      var created: String
      var created_by: String
    }

    var created: String
    var architecture: String
    var os: String
    var config: Process
    var rootfs: Layers
    var history: [Step]
  }

  /// The entry of `manifest.json`, by which `docker load` finds the blobs.
  struct DockerManifest: Encodable {
    var Config: String
    var RepoTags: [String]
    var Layers: [String]
  }
}
