// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

extension MessageSchema<Definition> {
  static var build: Self {
    var fields: [String: Action] = [
      "source": .text(\.source), "hash": .text(\.hash), "version": .text(\.version), "dep": .texts(\.dependencies),
      "cherry_pick": .texts(\.patches), "runtime_dep": .texts(\.runtimeDependencies), "extra_file": .texts(\.extraFiles),
      "writable_sourcedir": .bool(\.hasWritableSource), "in_tree_build": .bool(\.buildsInTree),
      "ack_missing_dwarf": .text(\.missingDebugSymbolsReason),
      "license": .text(\.license), "summary": .text(\.summary), "homepage": .text(\.homepage),
      "build_step": .items(\.steps, [], MessageSchema<[String]>.step),
      "install": .part(\.install, MessageSchema<InstallInstructions>.install),
      "split_package": .items(\.splitPackages, .init(), MessageSchema<Definition.SplitPackage>.split),
      "runtime_union": .items(\.runtimeUnions, .init(), MessageSchema<Definition.RuntimeUnion>.union),
      "pull": .message(repeated: false) { definition, message, reader throws(TextDefect) in
        var pull = Definition.Pull()
        try reader.read(message, into: &pull, .pull)
        definition.pull = pull
      },
    ]
    fields["cbuilder"] = builder(
      Definition.Builder.C(),
      .init(
        "cbuilder",
        [
          "extra_configure_flag": .texts(\.extraConfigureFlags), "extra_ldflag": .texts(\.extraLinkerFlags),
          "extra_make_flag": .texts(\.extraMakeFlags), "autoreconf": .bool(\.runsAutoreconf),
        ])
    ) { .c($0) }
    fields["perlbuilder"] = builder([], .list("perlbuilder", "extra_makefile_flag")) { .perl(extraMakefileFlags: $0) }
    fields["pythonbuilder"] = builder([String](), .init("pythonbuilder", [:])) { _ in .python }
    fields["gomodbuilder"] = builder([String](), .init("gomodbuilder", [:])) { _ in .goModule }
    fields["cmakebuilder"] = builder([], .list("cmakebuilder", "extra_cmake_flag")) { .cmake(extraFlags: $0) }
    fields["mesonbuilder"] = builder([], .list("mesonbuilder", "extra_meson_flag")) { .meson(extraFlags: $0) }
    fields["gobuilder"] = builder(
      Definition.Builder.Go(),
      .init(
        "gobuilder",
        [
          "install": .texts(\.install), "import_path": .text(\.importPath), "go_env": .texts(\.environment),
        ])
    ) { .go($0) }
    return MessageSchema("a definition", fields)
  }

  private static func builder<Options>(
    _ empty: Options, _ schema: MessageSchema<Options>, _ make: @escaping (Options) -> Definition.Builder
  ) -> Action {
    .message(repeated: false) { definition, message, reader throws(TextDefect) in
      var options = empty
      try reader.read(message, into: &options, schema)
      definition.builder = make(options)
    }
  }
}

extension MessageSchema<[String]> {
  static var step: Self { .list("build_step", "argv") }

  static func list(_ name: String, _ field: String) -> Self { .init(name, [field: .texts(\.self)]) }
}

extension MessageSchema<InstallInstructions> {
  static var install: Self {
    .init(
      "install",
      [
        "systemd_unit": .texts(\.systemdUnits), "empty_dir": .texts(\.emptyDirectories), "delete": .texts(\.deletions),
        "symlink": .items(\.symbolicLinks, .init(), .link("symlink")), "rename": .items(\.renames, .init(), .link("rename")),
        "chmod": .items(
          \.modes, .init(), .init("chmod", ["setuid": .bool(\.setsUserID), "name": .text(\.name)])),
        "capability": .items(
          \.capabilities, .init(),
          .init("capability", ["filename": .text(\.filename), "capability": .text(\.capability)])),
        "file": .items(
          \.files, .init(), .init("file", ["srcpath": .text(\.source), "destpath": .text(\.destination)])),
      ])
  }
}

extension MessageSchema<InstallInstructions.Link> {
  static func link(_ name: String) -> Self { .init(name, ["oldname": .text(\.oldName), "newname": .text(\.newName)]) }
}

extension MessageSchema<Definition.SplitPackage> {
  static var split: Self {
    .init(
      "split_package",
      [
        "name": .text(\.name), "runtime_dep": .texts(\.runtimeDependencies),
        "claim": .items(\.claims, .init(), .init("claim", ["glob": .pattern(\.glob), "dir": .text(\.directory)])),
      ])
  }
}

extension MessageSchema<Definition.RuntimeUnion> {
  static var union: Self { .init("runtime_union", ["dir": .text(\.directory), "pkg": .text(\.package)]) }
}

extension MessageSchema<Definition.Pull> {
  static var pull: Self {
    .init(
      "pull",
      [
        "debian_packages": .texts(\.debianPackages), "releases_url": .text(\.releasesURL),
        "release_regexp": .text(\.releaseRegularExpression), "force_semver": .bool(\.forcesSemanticVersions),
        "release_replace_all": .items(
          \.replacements, .init(),
          .init("release_replace_all", ["expr": .text(\.expression), "repl": .text(\.replacement)])),
      ])
  }
}
